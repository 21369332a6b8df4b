"""Structural schemas: OpenAPI v3 as a CustomResourceDefinition writes it, compiled once, asked often.

One source for what an object may hold: admission fills in and checks with it, server-side apply finds lists and maps
by it, and OpenAPI is its document. What is done with a schema stands in `defaulting`, `pruning`, `validating` and
`cel`; this module only reads documents.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.cel import Rule, RuleError, compile_rule
from litefleet_controller.resources.defaulting import with_defaults
from litefleet_controller.resources.pruning import UnknownField, pruned
from litefleet_controller.resources.validating import validate
from litefleet_controller.resources.values import ABSENT

Document = Mapping[str, Any]
ListType = Literal["atomic", "set", "map"]
MapType = Literal["granular", "atomic"]
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TYPES = ("object", "array", "string", "integer", "number", "boolean")


class SchemaError(ValueError):
    """The document is no structural schema. `field` is the place in it."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place or 'schema'}: {message}")
        self.field = place


@dataclass(frozen=True, slots=True)
class Limits:
    """What a value must hold, as OpenAPI names it."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    pattern: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """One node of a compiled schema. Navigate by `properties`, `items` and `additional`."""

    type: str = ""
    """object, array, string, integer, number or boolean; empty where several are allowed."""
    types: tuple[str, ...] = ()
    """All that are allowed; empty for anything."""
    properties: Mapping[str, "Schema"] = field(default_factory=dict)
    items: "Schema | None" = None
    additional: "Schema | None" = None
    """Schema of a map's values."""
    required: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    format: str = ""
    limits: Limits = Limits()
    regex: re.Pattern[str] | None = None
    nullable: bool = False
    default_value: Any = ABSENT
    preserves_unknown: bool = False
    embedded: bool = False
    """A whole object: apiVersion, kind and metadata are Kubernetes' own."""
    list_type: ListType = "atomic"
    list_map_keys: tuple[str, ...] = ()
    is_struct: bool = False
    """A struct or list of one of Kubernetes' own kinds: it is there from the start, so nobody owns it as such."""
    map_type: MapType = "granular"
    rules: tuple[Rule, ...] = ()
    has_rules: bool = False
    """Whether this node or one below it has rules."""
    document: Document = field(default_factory=dict, repr=False)

    def default(self, value: Any) -> Any:
        """`value` with defaults filled in, and without nulls where none is allowed. The original stays as it is."""
        return with_defaults(self, value)

    def prune(self, value: Any, path: str = "") -> tuple[Any, list[UnknownField]]:
        """`value` without the fields that the schema doesn't have, and which those were."""
        unknown: list[UnknownField] = []
        return pruned(self, value, path, unknown), unknown

    def validate(self, value: Any, old: Any = ABSENT, path: str = "", beside: Iterable[Cause] = ()) -> list[Cause]:
        """Everything wrong with it. `old` is the stored value of an update: what is as it was isn't judged anew.

        `beside` are causes found elsewhere, which decide with the schema's own whether CEL rules can run.
        """
        return validate(self, value, old, path, beside)


def compile_schema(document: Document, place: str = "", *, embedded: bool = False, structs: bool = False) -> Schema:
    """The schema of a document, e.g. a CRD's `openAPIV3Schema` (then `embedded`: it describes a whole object).

    `structs`: the kind is one of Kubernetes' own, whose objects with declared fields are structs and not maps.

    Raises:
        SchemaError: it isn't structural.
    """
    if not isinstance(document, Mapping):
        raise SchemaError(place, "a schema is an object")
    properties = {
        name: compile_schema(inner, f"{place}.{name}", structs=structs)
        for name, inner in document.get("properties", {}).items()
    }
    item, additional = document.get("items"), document.get("additionalProperties")
    items = compile_schema(item, f"{place}[]", structs=structs) if isinstance(item, Mapping) else None
    values = compile_schema(additional, f"{place}[*]", structs=structs) if isinstance(additional, Mapping) else None
    rules = _rules(document, place)
    below = [*properties.values(), *(s for s in (items, values) if s is not None)]
    types = _types(document, place)
    return Schema(
        type=types[0] if len(types) == 1 else "",
        types=types,
        properties=properties,
        items=items,
        additional=Schema(preserves_unknown=True) if additional is True else values,
        required=tuple(document.get("required", ())),
        enum=tuple(document.get("enum", ())),
        format=str(document.get("format", "")),
        limits=_limits(document),
        regex=_regex(document, place),
        nullable=document.get("nullable") is True,
        default_value=document.get("default", ABSENT),
        preserves_unknown=document.get("x-kubernetes-preserve-unknown-fields") is True,
        embedded=embedded or document.get("x-kubernetes-embedded-resource") is True,
        list_type=cast("ListType", document.get("x-kubernetes-list-type", "atomic")),
        list_map_keys=tuple(document.get("x-kubernetes-list-map-keys", ())),
        is_struct=structs and (bool(properties) or items is not None),
        map_type=cast("MapType", document.get("x-kubernetes-map-type", "granular")),
        rules=rules,
        has_rules=bool(rules) or any(s.has_rules for s in below),
        document=document,
    )


def _types(document: Document, place: str) -> tuple[str, ...]:
    if document.get("x-kubernetes-int-or-string") is True:
        branches = tuple(b["type"] for b in document.get("anyOf", ()) if "type" in b)
        return branches or ("integer", "string")
    type_ = document.get("type", "")
    if type_ and type_ not in _TYPES:
        raise SchemaError(place, f"type {type_!r} is none of {', '.join(_TYPES)}")
    return (type_,) if type_ else ()


def _limits(document: Document) -> Limits:
    return Limits(
        minimum=document.get("minimum"),
        maximum=document.get("maximum"),
        exclusive_minimum=document.get("exclusiveMinimum") is True,
        exclusive_maximum=document.get("exclusiveMaximum") is True,
        multiple_of=document.get("multipleOf"),
        min_length=document.get("minLength"),
        max_length=document.get("maxLength"),
        min_items=document.get("minItems"),
        max_items=document.get("maxItems"),
        min_properties=document.get("minProperties"),
        max_properties=document.get("maxProperties"),
        pattern=document.get("pattern", ""),
    )


def _regex(document: Document, place: str) -> re.Pattern[str] | None:
    pattern = document.get("pattern")
    if not pattern:
        return None
    # RE2's $ is the very end; Python's would let a newline follow.
    strict = rf"{pattern[:-1]}\Z" if pattern.endswith("$") and not pattern.endswith(r"\$") else pattern
    try:
        return re.compile(strict)
    except re.error as e:
        raise SchemaError(place, f"pattern {pattern!r}: {e}") from e


def _rules(document: Document, place: str) -> tuple[Rule, ...]:
    try:
        return tuple(compile_rule(rule) for rule in document.get("x-kubernetes-validations", ()))
    except RuleError as e:
        raise SchemaError(place, str(e)) from e

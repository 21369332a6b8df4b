"""Validation by schema, in the words of a Kubernetes API server, which clients and people know how to read.

All causes come together. CEL rules run only when the value has the shape that they were written for: beside a missing
or mistyped field they don't, and one more cause says so.
"""

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from litefleet_controller.resources.causes import Cause, Reason
from litefleet_controller.resources.cel import Cost, violations
from litefleet_controller.resources.values import ABSENT, json_type, same, shown

if TYPE_CHECKING:
    from litefleet_controller.resources.schema import Schema

_BLOCKING: frozenset[Reason] = frozenset(
    {"FieldValueRequired", "FieldValueTypeInvalid", "FieldValueTooLong", "FieldValueTooMany"}
)
UNCHECKED = Cause(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_GO_TYPES = {"number": "float64", "integer": "int64"}
_RANGES = {"int32": 2**31, "int64": 2**63}


def validate(schema: "Schema", value: Any, old: Any, path: str, beside: Iterable[Cause]) -> list[Cause]:
    """See `Schema.validate`."""
    # A subtree that is judged alone is named by its own path in the sentence, by the whole one in the field.
    causes = list(_node(schema, value, old, path, ""))
    if not schema.has_rules:
        return causes
    if blocks_rules((*causes, *beside)):
        return [*causes, UNCHECKED]
    return [*causes, *_rules(schema, value, old, path, Cost())]


def blocks_rules(causes: Iterable[Cause]) -> bool:
    """Whether one of them means that CEL rules can't run."""
    return any(c.reason in _BLOCKING for c in causes)


def _node(schema: "Schema", value: Any, old: Any, path: str, named: str) -> Iterable[Cause]:
    if old is not ABSENT and same(value, old):
        return
    if value is None and schema.nullable:
        return
    mistyped = _type(schema, value, path, named)
    yield from mistyped
    if mistyped and value is None:
        return
    if schema.enum and not any(same(value, allowed) for allowed in schema.enum):
        supported = ", ".join(shown(e) for e in schema.enum)
        message = f"Unsupported value: {shown(value)}: supported values: {supported}"
        yield Cause(path, "FieldValueNotSupported", message, "NotSupported")
    if isinstance(value, bool):
        return
    if isinstance(value, str):
        yield from _text(schema, value, path, named)
    elif isinstance(value, int | float):
        yield from _number(schema, value, path, named)
    elif isinstance(value, list):
        yield from _list(schema, value, old, path, named)
    elif isinstance(value, dict):
        yield from _object(schema, value, old, path, named)


def _type(schema: "Schema", value: Any, path: str, named: str) -> list[Cause]:
    given = json_type(value)
    wanted = schema.types
    if not wanted or given in wanted or (given == "integer" and "number" in wanted):
        return []
    if given == "number" and "integer" in wanted and float(value).is_integer():
        return []
    form, got = ",".join(wanted), given
    if schema.format in _RANGES and given not in ("string", "array", "null"):
        form, got = schema.format, _GO_TYPES.get(given, "")
    if given == "number" and "integer" in wanted and not schema.format:
        got = "number"
    causes = [_mistyped(path, named, form, got, _as_list(schema, value))]
    if given == "number" and schema.type == "integer":
        causes.append(_unrepresentable(schema, named))
    if len(wanted) > 1:
        text = f'Invalid value: "": "{named}" must validate at least one schema (anyOf)'
        causes += [Cause("<nil>", "FieldValueInvalid", text), _mistyped(path, named, wanted[0], got)]
    return causes


def _as_list(schema: "Schema", value: Any) -> str:
    """What to write, when one of a list's words stands where the list should."""
    if "array" in schema.types and schema.items is not None and any(same(value, e) for e in schema.items.enum or ()):
        return f"; write [{value}]"
    return ""


def _mistyped(path: str, named: str, wanted: str, got: str, hint: str = "") -> Cause:
    text = f'Invalid value: "{got}": {named} in body must be of type {wanted}: "{got}"{hint}'
    return Cause(path, "FieldValueTypeInvalid", text, "TypeError")


def _unrepresentable(schema: "Schema", named: str) -> Cause:
    how = f"with format {schema.format}" if schema.format else "(default format)"
    return Cause(
        "<nil>", "FieldValueInvalid", f'Invalid value: "": Checked value must be of type integer {how} in {named}'
    )


def _text(schema: "Schema", value: str, path: str, named: str) -> Iterable[Cause]:
    limits = schema.limits
    if "string" not in schema.types:
        return
    if limits.max_length is not None and len(value) > limits.max_length:
        message = f"Too long: may not be more than {limits.max_length} bytes"
        yield Cause(path, "FieldValueTooLong", message, "TooLarge")
    if limits.min_length is not None and len(value) < limits.min_length:
        yield _outside(path, value, f"{named} in body should be at least {limits.min_length} chars long", "Invalid")
    if schema.regex is not None and not schema.regex.search(value):
        yield _outside(path, value, f"{named} in body should match '{limits.pattern}'", "Invalid")
    check = _FORMATS.get(schema.format)
    if check is not None and not check(value):
        text = f"Invalid value: {shown(value)}: {named} in body must be of type {schema.format}: {shown(value)}"
        yield Cause(path, "FieldValueTypeInvalid", text, "TypeError")


def _number(schema: "Schema", value: float, path: str, named: str) -> Iterable[Cause]:
    limits = schema.limits
    bound = _RANGES.get(schema.format or "int64") if schema.type == "integer" else None
    if bound is not None and not -bound <= value < bound:
        how = f"with format {schema.format}" if schema.format else "(default format)"
        yield Cause(
            "<nil>", "FieldValueInvalid", f'Invalid value: "": Checked value must be of type integer {how} in {named}'
        )
    least, most = limits.minimum, limits.maximum
    if most is not None and (value > most or (limits.exclusive_maximum and value == most)):
        how = "less than" if limits.exclusive_maximum else "less than or equal to"
        yield _outside(path, value, f"{named} in body should be {how} {_plain(most)}")
    if least is not None and (value < least or (limits.exclusive_minimum and value == least)):
        how = "greater than" if limits.exclusive_minimum else "greater than or equal to"
        yield _outside(path, value, f"{named} in body should be {how} {_plain(least)}")
    if limits.multiple_of and value % limits.multiple_of:
        yield _outside(path, value, f"{named} in body should be a multiple of {_plain(limits.multiple_of)}")


def _plain(limit: float) -> str:
    return str(int(limit)) if float(limit).is_integer() else str(limit)


def _outside(path: str, value: Any, message: str, code: str = "OutOfRange") -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {message}", code)


def _list(schema: "Schema", value: list[Any], old: Any, path: str, named: str) -> Iterable[Cause]:
    limits = schema.limits
    if limits.max_items is not None and len(value) > limits.max_items:
        message = f"Too many: {len(value)}: must have at most {limits.max_items} items"
        yield Cause(path, "FieldValueTooMany", message, "OutOfRange")
    if limits.min_items is not None and len(value) < limits.min_items:
        yield _outside(path, value, f"{named} in body should have at least {limits.min_items} items")
    if schema.items is None:
        return
    for number, item in enumerate(value):
        before = correlated(schema, item, old)
        yield from _node(schema.items, item, before, f"{path}[{number}]", f"{named}[{number}]")
    yield from _duplicates(schema, value, path)


def correlated(schema: "Schema", item: Any, old: Any) -> Any:
    """The item of the old list that `item` was: found by its keys in a map list, by itself in a set, else nowhere."""
    if not isinstance(old, list):
        return ABSENT
    identity = _identity(schema, item)
    if identity is None:
        return ABSENT
    return next((o for o in old if same(_identity(schema, o), identity)), ABSENT)


def _identity(schema: "Schema", item: Any) -> Any:
    if schema.list_type == "set":
        return item
    if schema.list_type == "map" and isinstance(item, dict):
        return {k: item[k] for k in schema.list_map_keys if k in item}
    return None


def _duplicates(schema: "Schema", value: list[Any], path: str) -> Iterable[Cause]:
    seen: set[str] = set()
    for number, item in enumerate(value):
        identity = _identity(schema, item)
        if identity is None:
            continue
        text = shown(identity)
        if text in seen:
            yield Cause(f"{path}[{number}]", "FieldValueDuplicate", f"Duplicate value: {text}", "Duplicate")
        seen.add(text)


def _object(schema: "Schema", value: dict[str, Any], old: Any, path: str, named: str) -> Iterable[Cause]:
    limits = schema.limits
    if limits.max_properties is not None and len(value) > limits.max_properties:
        message = f"Too many: {len(value)}: must have at most {limits.max_properties} items"
        yield Cause(path, "FieldValueTooMany", message, "OutOfRange")
    if limits.min_properties is not None and len(value) < limits.min_properties:
        yield _outside(path, value, f"{named} in body should have at least {limits.min_properties} properties")
    for name in schema.required:
        if name not in value:
            yield Cause(joined(path, name), "FieldValueRequired", "Required value", "Required")
    for name, member in value.items():
        inner = schema.properties.get(name) or schema.additional
        if inner is not None:
            before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
            yield from _node(inner, member, before, joined(path, name), joined(named, name))


def _rules(schema: "Schema", value: Any, old: Any, path: str, cost: Cost) -> list[Cause]:
    if not schema.has_rules or value is None or (old is not ABSENT and same(value, old)):
        return []
    causes = violations(schema, value, old, path, cost)
    if isinstance(value, dict):
        for name, member in value.items():
            inner = schema.properties.get(name) or schema.additional
            if inner is not None:
                before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
                causes += _rules(inner, member, before, joined(path, name), cost)
    elif isinstance(value, list) and schema.items is not None:
        for number, item in enumerate(value):
            causes += _rules(schema.items, item, correlated(schema, item, old), f"{path}[{number}]", cost)
    return causes


def joined(path: str, name: str) -> str:
    """A member's path."""
    return f"{path}.{name}" if path else name


_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _parses(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _date_time(text: str) -> None:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("no RFC 3339 time")
    # Python reads microseconds at most, and RFC 3339 more: the fraction decides nothing.
    datetime.fromisoformat(text.replace(match.group(1) or "\0", "", 1).upper())


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _parses(_date_time),
    "date": _parses(date.fromisoformat),
    "uuid": _parses(uuid.UUID),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": _parses(lambda t: ipaddress.ip_network(t, strict=False)),
    "byte": _parses(lambda t: base64.b64decode(t, validate=True)),
}
"""As far as kinds use them; Kubernetes ignores formats that it doesn't know, too."""

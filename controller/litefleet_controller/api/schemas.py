"""Kubernetes' structural OpenAPI v3 schemas out of pydantic models, so that a field is described in one place.

pydantic writes JSON Schema draft 2020-12 with `$defs`; Kubernetes reads OpenAPI 3.0 with references resolved:
`anyOf` with null becomes `nullable`, `const` an enum of one, exclusive limits booleans, tuples lists.
"""

from typing import Any

from litefleet_controller.resources.meta import Part

Schema = dict[str, Any]
_DROPPED = frozenset({"title", "$defs", "additionalProperties", "propertyNames", "discriminator", "examples"})


def schema_of(model: type[Part]) -> Schema:
    """The model as a structural schema, every reference inlined."""
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        siblings = {k: v for k, v in node.items() if k != "$ref"}
        return _convert({**target, **siblings}, definitions)
    if "anyOf" in node:
        return _union(node, definitions)
    if node.get("x-litefleet-format"):
        return _number_or_text(node)
    result = {k: v for k, v in node.items() if k not in _DROPPED}
    _convert_children(node, result, definitions)
    _convert_limits(result)
    if result.get("default", ...) is None:
        del result["default"]
    return result


def _convert_children(node: Schema, result: Schema, definitions: dict[str, Schema]) -> None:
    if "properties" in node:
        result["properties"] = {name: _convert(inner, definitions) for name, inner in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "prefixItems" in node:
        result["items"] = _convert(node["prefixItems"][0], definitions)
        del result["prefixItems"]
    elif isinstance(node.get("items"), dict):
        result["items"] = _convert(node["items"], definitions)


def _convert_limits(result: Schema) -> None:
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        limit = result.get(exclusive)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            result[inclusive], result[exclusive] = limit, True
    if "const" in result:
        result["enum"] = [result.pop("const")]


def _union(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """One branch beside null is that branch, nullable; a number or a string is Kubernetes' int-or-string."""
    branches = [b for b in node["anyOf"] if b.get("type") != "null"]
    siblings = {k: v for k, v in node.items() if k not in _DROPPED and k != "anyOf"}
    nullable = {"nullable": True} if len(branches) < len(node["anyOf"]) else {}
    if siblings.get("default", ...) is None:
        del siblings["default"]
    if len(branches) == 1:
        return {**_convert(branches[0], definitions), **siblings, **nullable}
    types = sorted(str(_convert(b, definitions).get("type")) for b in branches)
    return {"anyOf": [{"type": t} for t in types], "x-kubernetes-int-or-string": True, **siblings, **nullable}


def _number_or_text(node: Schema) -> Schema:
    """A quantity that people write as `10m` or as a number."""
    kept = {k: v for k, v in node.items() if k in ("description", "default")}
    return {"anyOf": [{"type": "number"}, {"type": "string"}], "x-kubernetes-int-or-string": True, **kept}

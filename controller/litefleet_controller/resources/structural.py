"""Structural OpenAPI v3 schemas out of pydantic models, so that a field is described in one place.

pydantic writes JSON Schema draft 2020-12 with `$defs`; Kubernetes reads OpenAPI 3.0 with references resolved: `const`
becomes an enum of one, exclusive limits booleans, tuples lists. `anyOf` with null is the other branch and not
`nullable`: a field that is None in a model is absent in a manifest, so that a null is dropped.
"""

from typing import Any

from litefleet_controller.resources.meta import Part

Document = dict[str, Any]
_DROPPED = frozenset({"title", "$defs", "additionalProperties", "propertyNames", "discriminator", "examples"})


def object_document(spec: type[Part], status: type[Part]) -> Document:
    """The schema of a whole object. A status gets no defaults: what no reconciler wrote isn't there."""
    inner = document_of(spec)
    document: Document = {
        "description": inner.get("description", ""),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": inner,
            "status": _without_defaults(document_of(status)),
        },
    }
    if inner.get("required"):
        return {**document, "required": ["spec"]}
    inner["default"] = {}
    return document


def document_of(model: type[Part]) -> Document:
    """The model as a structural schema, every reference inlined."""
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}))


def _without_defaults(document: Document) -> Document:
    kept = {k: v for k, v in document.items() if k != "default"}
    if "properties" in kept:
        kept["properties"] = {name: _without_defaults(inner) for name, inner in kept["properties"].items()}
    for below in ("items", "additionalProperties"):
        if isinstance(kept.get(below), dict):
            kept[below] = _without_defaults(kept[below])
    return kept


def _convert(node: Document, definitions: dict[str, Document]) -> Document:
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
    return _with_clean_default(result)


def _convert_children(node: Document, result: Document, definitions: dict[str, Document]) -> None:
    if "properties" in node:
        result["properties"] = {name: _convert(inner, definitions) for name, inner in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "prefixItems" in node:
        result["items"] = _convert(node["prefixItems"][0], definitions)
        del result["prefixItems"]
    elif isinstance(node.get("items"), dict):
        result["items"] = _convert(node["items"], definitions)


def _convert_limits(result: Document) -> None:
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        limit = result.get(exclusive)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            result[inclusive], result[exclusive] = limit, True
    if "const" in result:
        result["enum"] = [result.pop("const")]


def _union(node: Document, definitions: dict[str, Document]) -> Document:
    """One branch beside null is that branch; a number or a string is Kubernetes' int-or-string."""
    branches = [b for b in node["anyOf"] if b.get("type") != "null"]
    siblings = {k: v for k, v in node.items() if k not in _DROPPED and k != "anyOf"}
    siblings = _with_clean_default(siblings)
    if len(branches) == 1:
        return {**_convert(branches[0], definitions), **siblings}
    types = sorted(str(_convert(b, definitions).get("type")) for b in branches)
    return {"anyOf": [{"type": t} for t in types], "x-kubernetes-int-or-string": True, **siblings}


def _number_or_text(node: Document) -> Document:
    """A quantity that people write as `10m` or as a number."""
    kept = {k: v for k, v in node.items() if k in ("description", "default")}
    return {"anyOf": [{"type": "number"}, {"type": "string"}], "x-kubernetes-int-or-string": True, **kept}


def _with_clean_default(node: Document) -> Document:
    """Its default without nulls, which stand for fields that are absent."""
    if "default" not in node:
        return node
    rest = {k: v for k, v in node.items() if k != "default"}
    return rest if node["default"] is None else {**rest, "default": _without_nulls(node["default"])}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value

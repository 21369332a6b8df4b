"""The shape of `metadata`, checked before anything relies on it; its values are admission's business."""

from collections.abc import Callable, Iterable
from typing import Any

from litefleet_controller.api.errors import ApiError, StatusCause, bad_request
from litefleet_controller.resources.kind import Kind


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) or v is None for v in value.values())


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, dict) for v in value)


_TEXT, _COUNT, _TEXTS, _LIST = "string", "int64", "map[string]string", "[]string"
_FIELDS: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "name": (_string, "a string", _TEXT),
    "generateName": (_string, "a string", _TEXT),
    "namespace": (_string, "a string", _TEXT),
    "selfLink": (_string, "a string", _TEXT),
    "uid": (_string, "a string", _TEXT),
    "resourceVersion": (_string, "a string", _TEXT),
    "generation": (_whole, "a whole number", _COUNT),
    "creationTimestamp": (_string, "a string", _TEXT),
    "deletionTimestamp": (_string, "a string", _TEXT),
    "deletionGracePeriodSeconds": (_whole, "a whole number", _COUNT),
    "labels": (_map, "an object whose values are strings", _TEXTS),
    "annotations": (_map, "an object whose values are strings", _TEXTS),
    "finalizers": (_strings, "a list of strings", _LIST),
    "ownerReferences": (_objects, "a list of objects", "[]v1.OwnerReference"),
    "managedFields": (_objects, "a list of objects", "[]v1.ManagedFieldsEntry"),
}
"""Name -> (check, what it must be for people, and as Kubernetes' messages name the type)."""
KNOWN = frozenset(_FIELDS)
_SERVERS_OWN = frozenset({"selfLink"})
"""Sent back by clients that read it elsewhere; never kept here."""


def checked(kind: Kind, metadata: Any) -> tuple[dict[str, Any], list[str]]:
    """`metadata` as far as it is known, without null members that a create or update would drop; and unknown names.

    Raises:
        ApiError: 400, with the field and what it must be.
    """
    if metadata is None:
        return {}, []
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for name, value in metadata.items():
        rule = _FIELDS.get(name)
        if rule is not None and value is not None and not rule[0](value):
            raise _mistyped(kind, name, value)
    known = {k: v for k, v in metadata.items() if k in KNOWN and k not in _SERVERS_OWN}
    return known, sorted(metadata.keys() - KNOWN)


def _mistyped(kind: Kind, name: str, value: Any) -> ApiError:
    """In Kubernetes' words, which people look up; the cause is plain."""
    _, plain, wanted = _FIELDS[name]
    inner = _items(value, wanted)
    if inner is not None:
        value, wanted = next(v for v in inner if not isinstance(v, str)), _TEXT
    found = f"json: cannot unmarshal {_json_type(value)} into Go struct field ObjectMeta.{name} of type {wanted}"
    text = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {found}'
    cause = StatusCause("FieldValueTypeInvalid", f"must be {plain}", f"metadata.{name}", "TypeError")
    return bad_request(text, [cause])


def _items(value: Any, wanted: str) -> Iterable[Any] | None:
    """What is in it, when it is a map or list of texts as it should be, and only something in it is wrong."""
    if wanted == _TEXTS and isinstance(value, dict):
        return value.values()
    return value if wanted == _LIST and isinstance(value, list) else None


def _json_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    """For a whole object, where null means absent (in a patch it means delete)."""
    kept = {k: v for k, v in metadata.items() if v is not None}
    for part in ("labels", "annotations"):
        if part in kept:
            kept[part] = {k: v for k, v in kept[part].items() if v is not None}
    return kept

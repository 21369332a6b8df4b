"""The shape of `metadata`, checked before anything relies on it; its values are admission's business."""

from collections.abc import Callable
from typing import Any

from litefleet_controller.api.errors import bad_request


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


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_string, "a string"),
    "generateName": (_string, "a string"),
    "namespace": (_string, "a string"),
    "selfLink": (_string, "a string"),
    "uid": (_string, "a string"),
    "resourceVersion": (_string, "a string"),
    "generation": (_whole, "a whole number"),
    "creationTimestamp": (_string, "a string"),
    "deletionTimestamp": (_string, "a string"),
    "deletionGracePeriodSeconds": (_whole, "a whole number"),
    "labels": (_map, "an object whose values are strings"),
    "annotations": (_map, "an object whose values are strings"),
    "finalizers": (_strings, "a list of strings"),
    "ownerReferences": (_objects, "a list of objects"),
    "managedFields": (_objects, "a list of objects"),
}
KNOWN = frozenset(_FIELDS)
_SERVERS_OWN = frozenset({"selfLink"})
"""Sent back by clients that read it elsewhere; never kept here."""


def checked(metadata: Any) -> tuple[dict[str, Any], list[str]]:
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
            raise bad_request(f"metadata.{name} must be {rule[1]}")
    known = {k: v for k, v in metadata.items() if k in KNOWN and k not in _SERVERS_OWN}
    return known, sorted(metadata.keys() - KNOWN)


def without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    """For a whole object, where null means absent (in a patch it means delete)."""
    kept = {k: v for k, v in metadata.items() if v is not None}
    for part in ("labels", "annotations"):
        if part in kept:
            kept[part] = {k: v for k, v in kept[part].items() if v is not None}
    return kept

"""Objects as bytes: encoding, decoding, and what of an object goes into the index. Used by store/ alone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.store.interface import Json, Key, Record

OWNER_KEY = ".metadata.ownerReferences.uid"
"""The index key under which an object is found by its owners' uids."""

Entries = frozenset[tuple[str, str]]
"""(key, value) pairs of the index: labels by their key, fields by their path with the leading dot."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `objects`, its body decoded."""

    id: int
    record: Record
    body: Json


def timestamp(at: datetime) -> str:
    """metav1.Time: RFC 3339 in UTC, whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(body: Json) -> Key:
    """The identity of a stored object."""
    metadata = body["metadata"]
    return Key(body["kind"], metadata.get("namespace", ""), metadata["name"])


def record_of(body: Json) -> Record:
    """A record of `body`, whose metadata are complete; a resourceVersion that is absent (dry run) becomes 0.

    Raises:
        InvalidError: it holds something that isn't JSON or UTF-8 (NaN, a lone surrogate).
    """
    metadata = body["metadata"]
    try:
        encoded = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as e:
        raise InvalidError(
            str(body["kind"]),
            str(metadata["name"]),
            [Cause("", "FieldValueInvalid", f"can't be stored: {e}", "Invalid")],
        ) from e
    return Record(
        key=key_of(body),
        uid=metadata["uid"],
        resource_version=int(metadata.get("resourceVersion", 0)),
        generation=metadata.get("generation", 0),
        labels=metadata.get("labels") or {},
        body=encoded,
    )


def with_version(body: Json, version: int) -> Json:
    """`body` at another resourceVersion."""
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}


def without_version(body: Json) -> Json:
    """`body` without a resourceVersion, for an apply to what is gone: it creates all the same."""
    return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "resourceVersion"}}


def decoded(encoded: bytes) -> Record:
    """A record from its stored bytes alone."""
    body: Json = json.loads(encoded)
    metadata = body["metadata"]
    return Record(
        key=key_of(body),
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=metadata.get("generation", 0),
        labels=metadata.get("labels") or {},
        body=encoded,
    )


def index_entries(body: Json, fields: Iterable[str]) -> Entries:
    """What `body` is found by: its labels, the fields at the paths `fields`, and its owners."""
    metadata = body["metadata"]
    entries = set((metadata.get("labels") or {}).items())
    for path in fields:
        value = _field(body, path)
        if value:
            entries.add((path, value))
    entries.update((OWNER_KEY, owner["uid"]) for owner in metadata.get("ownerReferences") or ())
    return frozenset(entries)


def _field(body: Json, path: str) -> str:
    """The field as a selector compares it; an absent one is empty, as in Kubernetes."""
    value: Any = body
    for step in path.removeprefix(".").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)

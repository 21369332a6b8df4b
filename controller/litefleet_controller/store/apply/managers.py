"""The entries of managedFields: who owns which fields, and since when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from litefleet_controller.resources.causes import Cause, InvalidError
from litefleet_controller.store.apply.comparing import Comparison
from litefleet_controller.store.apply.fieldset import Fields, FieldsError, difference, parsed, union
from litefleet_controller.store.interface import MAX_MANAGER_BYTES
from litefleet_controller.store.records import timestamp

Operation = Literal["Apply", "Update"]
MAX_UPDATERS = 10
"""Managers by update that are told apart; the oldest of more share one entry."""
_ANCIENT = "ancient-changes"
_METADATA = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
)  # fmt: skip
IDENTITY: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in _METADATA}},
}
"""What makes the object that object, and what the server writes: never owned by anyone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells two entries apart. Appliers are the same in every version."""

    manager: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """As messages of conflicts name it."""
        name = f'"{self.manager}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{name} using {self.api_version}" if self.operation == "Update" else name


@dataclass(frozen=True, slots=True)
class Entry:
    """A manager's fields. `time` is when they last changed; absent while its applying never changed the object."""

    fields: Fields
    api_version: str
    time: str | None = None


Managed = Mapping[Identity, Entry]
Versions = Mapping[str, Mapping[str, str]]
"""apiVersion -> its names for root fields of the stored form. In memory all fields have the stored form's names."""
_ONE: Versions = {}


def decode(entries: Iterable[Mapping[str, Any]], versions: Versions = _ONE) -> Managed:
    """Stored entries; they are as `encode` made them."""
    managed: dict[Identity, Entry] = {}
    for entry in entries:
        version = str(entry.get("apiVersion", ""))
        names = {new: old for old, new in versions.get(version, {}).items()}
        managed[_identity(entry)] = Entry(_renamed(entry.get("fieldsV1") or {}, names), version, entry.get("time"))
    return managed


def _renamed(fields: Fields, names: Mapping[str, str]) -> Fields:
    if not names:
        return fields
    return {f"f:{names.get(step[2:], step[2:])}" if step.startswith("f:") else step: n for step, n in fields.items()}


def decode_sent(kind: str, name: str, entries: Any) -> Managed:
    """Entries that a client sent.

    Raises:
        InvalidError: with a cause for each thing wrong with them.
    """
    if not isinstance(entries, list):
        text = "Invalid value: must be a list of entries"
        raise InvalidError(kind, name, [Cause("metadata.managedFields", "FieldValueTypeInvalid", text, "TypeError")])
    causes: list[Cause] = []
    managed: dict[Identity, Entry] = {}
    for number, entry in enumerate(entries):
        try:
            identity, read = _sent(entry)
        except FieldsError as e:
            text = f"Invalid value: {e}"
            causes.append(Cause(f"metadata.managedFields[{number}]", "FieldValueInvalid", text, "Invalid"))
        else:
            managed[identity] = read
    if causes:
        raise InvalidError(kind, name, causes)
    return managed


def _sent(entry: Any) -> tuple[Identity, Entry]:
    if not isinstance(entry, dict):
        raise FieldsError("an entry is an object")
    if entry.get("operation") not in ("Apply", "Update"):
        raise FieldsError("operation must be `Apply` or `Update`")
    if entry.get("fieldsType") != "FieldsV1":
        raise FieldsError("fieldsType must be `FieldsV1`")
    if len(str(entry.get("manager", "")).encode("utf-8", "replace")) > MAX_MANAGER_BYTES:
        raise FieldsError(f"manager may not be more than {MAX_MANAGER_BYTES} bytes")
    time = entry.get("time")
    try:
        at = None if time is None else datetime.fromisoformat(time).astimezone(UTC)
    except (TypeError, ValueError) as e:
        raise FieldsError("time must be an RFC 3339 time") from e
    fields = {s: n for s, n in parsed(entry.get("fieldsV1") or {}).items() if s != "."}
    return _identity(entry), Entry(fields, str(entry.get("apiVersion", "")), timestamp(at) if at else None)


def _identity(entry: Mapping[str, Any]) -> Identity:
    operation: Operation = entry["operation"]
    version = "" if operation == "Apply" else str(entry.get("apiVersion", ""))
    return Identity(str(entry.get("manager", "")), operation, version, str(entry.get("subresource", "")))


def encode(managed: Managed, versions: Versions = _ONE) -> list[dict[str, Any]]:
    """The entries in their order: appliers, then updaters, each by time and name."""
    ordered = sorted(
        managed.items(),
        key=lambda item: (
            item[0].operation,
            item[1].time or "",
            item[0].manager,
            item[1].api_version,
            item[0].subresource,
        ),
    )
    return [_entry(identity, entry, versions.get(entry.api_version, {})) for identity, entry in ordered]


def _entry(identity: Identity, entry: Entry, names: Mapping[str, str]) -> dict[str, Any]:
    members: dict[str, Any] = {
        "manager": identity.manager,
        "operation": identity.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": _renamed(entry.fields, names),
        "subresource": identity.subresource,
    }
    return {name: value for name, value in members.items() if value or name == "fieldsV1"}


def given_up(managed: Managed, comparison: Comparison, keeper: Identity | None = None) -> dict[Identity, Entry]:
    """Managers without what someone else wrote or took away; who owns nothing any more is gone."""
    lost = union(comparison.written, comparison.removed)
    left: dict[Identity, Entry] = {}
    for identity, entry in managed.items():
        fields = entry.fields if identity == keeper else difference(entry.fields, lost)
        if fields:
            left[identity] = entry if fields is entry.fields else replace(entry, fields=fields)
    return left


def taken(managed: Managed, comparison: Comparison, writer: Identity, time: str) -> Managed:
    """After an update: the writer owns what it wrote, beside what it had; nobody else owns that, nor what went."""
    left = given_up(managed, comparison)
    own = difference(comparison.written, IDENTITY)
    if own:
        before = left.get(writer)
        fields = own if before is None else union(before.fields, own)
        left[writer] = Entry(fields, writer.api_version, time)
    return _capped(left)


def _capped(managed: dict[Identity, Entry]) -> Managed:
    updaters = sorted(
        (i for i in managed if i.operation == "Update"), key=lambda i: (managed[i].time or "", str(i), i.subresource)
    )
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return managed
    result = dict(managed)
    for identity in updaters[: excess + 1]:
        entry = result.pop(identity)
        bucket = Identity(_ANCIENT, "Update", entry.api_version)
        old = result.get(bucket)
        result[bucket] = entry if old is None else replace(entry, fields=union(old.fields, entry.fields))
    return result

"""managedFields after an update: create, PUT, a patch or a status write, by whoever does it."""

from dataclasses import dataclass, field
from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.apply.comparing import Comparison, compare
from litefleet_controller.store.apply.fieldset import Fields
from litefleet_controller.store.apply.managers import (
    Identity,
    Managed,
    Versions,
    decode,
    decode_sent,
    encode,
    given_up,
    taken,
)
from litefleet_controller.store.interface import Json, Subresource

_OWNABLE_METADATA = frozenset({"generateName", "labels", "annotations", "finalizers", "ownerReferences"})


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, through which door, when. `time` is RFC 3339."""

    manager: str
    time: str
    subresource: Subresource = ""
    status_apart: bool = True
    """Whether the kind's status is written through its own door only."""
    api_version: str = ""
    """In which version it writes, when that isn't the stored form's."""
    versions: Versions = field(default_factory=dict)
    """What the kind's other versions call its root fields."""

    def updates(self, api_version: str) -> Identity:
        """Its entry for updates."""
        return Identity(self.manager, "Update", self.api_version or api_version, self.subresource)

    def applies(self) -> Identity:
        """Its entry as an applier."""
        return Identity(self.manager, "Apply", "", self.subresource)

    def part(self, body: Json) -> Json:
        """What the door writes of an object: its status, or everything else that clients may set."""
        if self.subresource == "status":
            return {"status": body["status"]} if "status" in body else {}
        others = ("apiVersion", "kind", "metadata", *(("status",) if self.status_apart else ()))
        metadata = {k: v for k, v in body.get("metadata", {}).items() if k in _OWNABLE_METADATA}
        return {"metadata": metadata, **{k: v for k, v in body.items() if k not in others}}


def tracked(schema: Schema, old: Json | None, new: Json, sent: Any, writer: Writer) -> Json:
    """`new`, what became of `old` (None: it is created), with the managedFields that follow from the change.

    `sent` are the managedFields of the request: `[{}]` ends tracking until someone applies, other ones replace the
    stored. An object that has none is left so, which is what Kubernetes does with objects older than the feature.

    Raises:
        InvalidError: what was sent are no managedFields.
    """
    stored = () if old is None else old["metadata"].get("managedFields", ())
    if writer.subresource:
        sent = None
    if sent == [{}]:
        return with_entries(new, [])
    managed = decode(stored, writer.versions)
    if sent and sent != stored:
        managed = decode_sent(new["kind"], new["metadata"]["name"], sent) or managed
    if old is not None and not managed:
        return with_entries(new, [])
    before: Json = {} if old is None else writer.part(old)
    comparison = compare(before, writer.part(new), schema)
    after = taken(managed, comparison, writer.updates(new["apiVersion"]), writer.time)
    return settled(old, new, after, writer.versions)


def disowned(body: Json, fields: Fields) -> Json:
    """`body`, of which the server itself took `fields` away, with nobody owning them any more."""
    stored = body["metadata"].get("managedFields")
    if not stored:
        return body
    return with_entries(body, encode(given_up(decode(stored), Comparison({}, {}, fields))))


def settled(old: Json | None, new: Json, managed: Managed, versions: Versions) -> Json:
    """`new` with these entries; `old` when nothing but times differs, so that nothing is written."""
    made = with_entries(new, encode(managed, versions))
    if old is None or made == old:
        return made
    stored = old["metadata"].get("managedFields", [])
    if with_entries(new, stored) == old and _untimed(managed) == _untimed(decode(stored, versions)):
        return old
    return made


def _untimed(managed: Managed) -> dict[Identity, tuple[str, Any]]:
    return {identity: (entry.api_version, entry.fields) for identity, entry in managed.items()}


def with_entries(body: Json, entries: list[dict[str, Any]]) -> Json:
    """`body` with these managedFields."""
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": {**metadata, "managedFields": entries} if entries else metadata}

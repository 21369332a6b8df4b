"""Server-side apply: what an applier sends becomes what it owns, or a conflict that names who owns it.

The steps are those of structured-merge-diff: merge, take away what this applier no longer sends and nobody else owns,
compare, refuse to change what others own unless forced, and let them lose it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from litefleet_controller.resources.causes import InvalidError
from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.apply import lastapplied
from litefleet_controller.store.apply.checking import check
from litefleet_controller.store.apply.comparing import compare
from litefleet_controller.store.apply.fieldset import Fields, difference, intersection, paths, text
from litefleet_controller.store.apply.managers import (
    IDENTITY,
    Entry,
    Identity,
    Managed,
    decode,
    given_up,
    taken,
)
from litefleet_controller.store.apply.merging import merge
from litefleet_controller.store.apply.removing import dropped
from litefleet_controller.store.apply.shapes import of_value
from litefleet_controller.store.apply.tracking import Writer
from litefleet_controller.store.errors import ApplyConflict, ApplyConflictError
from litefleet_controller.store.interface import Json

_BEFORE = "before-first-apply"
_IDENTIFYING = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An object after an apply, not yet admitted, and who owns what of it then."""

    body: Json
    managed: Managed


def apply(schema: Schema, live: Json | None, applied: Json, writer: Writer, *, force: bool) -> Outcome:
    """`applied` laid over `live` (None: there is no such object).

    Raises:
        InvalidError: it holds fields that the kind doesn't have, or that nobody could own.
        ApplyConflictError: others own fields that it would change.
    """
    name = applied["metadata"].get("name", "")
    causes = list(check(_without_entries(applied), schema))
    if causes:
        raise InvalidError(applied["kind"], name, causes)
    old = {} if live is None else writer.part(live)
    work = _Work(schema, old, writer.part(_without_nulls(applied)), writer, applied["apiVersion"])
    managed = {} if live is None else _entries(schema, live, old, writer)
    mine, is_kubectl = writer.applies(), writer.manager == lastapplied.MANAGER
    merged, after, conflicts = work.result(managed, mine)
    if conflicts and is_kubectl and live is not None:
        allowed = lastapplied.own_fields(live, schema, writer)
        left = {identity: difference(fields, allowed) for identity, fields in conflicts.items()}
        conflicts = {identity: fields for identity, fields in left.items() if fields}
    if conflicts and not force:
        raise conflict_error(conflicts)
    body = {
        **_identity(applied),
        **merged,
        "metadata": {**_identity(applied)["metadata"], **merged.get("metadata", {})},
    }
    return Outcome(lastapplied.synced(body, applied) if is_kubectl and not writer.subresource else body, after)


@dataclass(frozen=True, slots=True)
class _Work:
    schema: Schema
    live: Json
    config: Json
    writer: Writer
    api_version: str

    def result(self, managed: Managed, mine: Identity) -> tuple[Json, Managed, Mapping[Identity, Fields]]:
        last = managed.get(mine)
        own = difference(of_value(self.config, self.schema), IDENTITY)
        after = {**managed, mine: Entry(own, self.api_version)}
        merged = merge(self.live, self.config, self.schema)
        if last is not None:
            merged = dropped(merged, after, last.fields, self.schema)
        comparison = compare(self.live, merged, self.schema)
        written = comparison.written
        shared = {i: intersection(e.fields, written) for i, e in managed.items() if i != mine}
        time = self.writer.time if merged != self.live else last.time if last is not None else None
        left = given_up({**after, mine: Entry(own, self.api_version, time)}, comparison, mine)
        return merged, left, {identity: fields for identity, fields in shared.items() if fields}


def _entries(schema: Schema, live: Json, old: Json, writer: Writer) -> Managed:
    """The stored entries; for an object that nobody was tracked on, one that owns all that is there."""
    managed = decode(live["metadata"].get("managedFields", ()), writer.versions)
    if managed:
        return managed
    before = replace(writer, manager=_BEFORE)
    return taken({}, compare({}, old, schema), before.updates(live["apiVersion"]), writer.time)


def conflict_error(conflicts: Mapping[Identity, Fields]) -> ApplyConflictError:
    """The refusal, fields by manager in a fixed order."""
    ordered = sorted(conflicts.items(), key=lambda item: str(item[0]))
    return ApplyConflictError(
        [ApplyConflict(str(who), text(path)) for who, fields in ordered for path in paths(fields)]
    )


def _without_entries(applied: Json) -> Json:
    return {**applied, "metadata": {k: v for k, v in applied["metadata"].items() if k != "managedFields"}}


def _identity(applied: Json) -> Json:
    """What says which object and which version of it is meant."""
    metadata = {k: v for k, v in applied["metadata"].items() if v and k in _IDENTIFYING}
    return {"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": metadata}


def _without_nulls(applied: Json) -> Json:
    """Metadata that clients send as null count as left out."""
    metadata = {k: v for k, v in applied["metadata"].items() if v is not None}
    return {**applied, "metadata": metadata}

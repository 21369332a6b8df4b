"""Admission: from what a person sent to what may be stored, or one error that names every cause.

Generic over kinds: the schema fills in and checks, the kind's own check follows. What was written stays as it was
written (`10m` stays `10m`), so that a second `kubectl apply` of the same file changes nothing.
"""

from typing import Any

from litefleet_controller.resources.causes import Cause, InvalidError, Reason
from litefleet_controller.resources.kind import Kind
from litefleet_controller.resources.metadata import metadata_causes
from litefleet_controller.resources.pruning import UnknownField
from litefleet_controller.resources.schema import Schema
from litefleet_controller.resources.validating import UNCHECKED, blocks_rules
from litefleet_controller.resources.values import ABSENT, same

__all__ = ["Cause", "InvalidError", "Reason", "UnknownField", "admit", "check_status", "prune"]


def prune(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any], list[UnknownField]]:
    """`body` without the fields that the kind doesn't have, and which those were (fieldValidation decides what then).

    Serves merge patches too: a patch has the shape of what it patches.
    """
    kept, unknown = kind.schema.prune(body)
    return kept, sorted(unknown, key=lambda u: u.path)


def admit(kind: Kind, body: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """`body` with defaults filled in, checked. `old` is the stored object of an update, None on create.

    A `status` that is a subresource is not looked at here; see `check_status`.

    Raises:
        InvalidError: with every cause.
    """
    metadata = body.get("metadata")
    causes = metadata_causes({} if metadata is None else metadata, label_names=kind.label_names)
    apart = ("status",) if kind.has_status else ()
    filled = kind.schema.default({k: v for k, v in body.items() if k not in apart})
    before = ABSENT if old is None else {k: v for k, v in old.items() if k not in apart}
    if not isinstance(metadata, dict):
        filled.pop("metadata", None)  # Named already, with the words for metadata.
    causes += kind.schema.validate(filled, before, beside=tuple(causes))
    if "spec" in filled:
        causes = _with_check(kind, "spec", filled["spec"], causes)
    if kind.immutable_spec and old is not None and not causes and not same(old.get("spec"), filled.get("spec")):
        causes += _changed(old.get("spec") or {}, filled.get("spec") or {})
    if causes:
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise InvalidError(kind.kind, str(name or ""), causes)
    return {**filled, "metadata": metadata}


def check_status(kind: Kind, name: str, status: Any, old: Any = ABSENT) -> Any:
    """A status that fits the kind, with defaults if its schema has any. `old` is the one stored.

    Raises:
        InvalidError: with every cause.
    """
    schema = kind.schema.properties.get("status")
    if schema is None:
        return status
    filled = schema.default(status)
    causes = _with_check(kind, "status", filled, _status_causes(kind, schema, filled, old))
    if causes:
        raise InvalidError(kind.kind, name, causes)
    return filled


def _status_causes(kind: Kind, schema: Schema, value: Any, old: Any) -> list[Cause]:
    """The rules of the whole object are what a broken status keeps from running, not only its own."""
    causes = schema.validate(value, old, "status")
    if kind.schema.has_rules and not schema.has_rules and blocks_rules(causes):
        return [*causes, UNCHECKED]
    return causes


def _with_check(kind: Kind, part: str, value: Any, causes: list[Cause]) -> list[Cause]:
    if kind.check is None:
        return causes
    named = {c.field for c in causes}
    return [*causes, *(c for c in kind.check(part, value) if c.field not in named)]


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    message = "field is immutable: a change of it needs a new object"
    changed = sorted(f for f in old.keys() | new.keys() if old.get(f) != new.get(f))
    return [Cause(f"spec.{field}", "FieldValueInvalid", message, "Immutable") for field in changed]

"""Field validation: what happens to fields that a kind doesn't have, and to keys that are given twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litefleet_controller.api import metadata
from litefleet_controller.api.bodies import Decoded
from litefleet_controller.api.errors import ApiError, StatusCause, bad_request
from litefleet_controller.resources.admission import UnknownField, prune
from litefleet_controller.resources.kind import Kind


@dataclass(frozen=True, slots=True)
class Accepted:
    """An object or merge patch without unknown fields, and the warnings to send along."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def accept(kind: Kind, decoded: Decoded, validation: str, *, patch: bool = False) -> Accepted:
    """Prune `decoded` by the rules of `validation` (Strict, Warn, Ignore).

    Raises:
        ApiError: 400 under Strict, 422 for a patch, as in Kubernetes; each field with the known name most like it.
    """
    sent: dict[str, Any] = decoded.value
    known_metadata, unknown_metadata = metadata.checked(kind, sent.get("metadata"))
    body, unknown = prune(kind, sent)
    if not patch:
        body["metadata"] = metadata.without_nulls(known_metadata)
    else:
        _, unknown = prune(kind, _without_nulls(sent))
        if "metadata" in body:
            body["metadata"] = known_metadata
    unknown = [*unknown, *(UnknownField(f"metadata.{name}") for name in unknown_metadata)]
    found = [*_problems(decoded.duplicates), *(_unknown(f) for f in sorted(unknown, key=lambda u: u.path))]
    if found and validation == "Strict":
        raise _refused(kind, found[:_SHOWN], patch=patch)
    return Accepted(body, () if validation == "Ignore" else tuple(c.message for c in found[:_SHOWN]))


def refuse_duplicates(kind: Kind, decoded: Decoded, validation: str) -> tuple[str, ...]:
    """Warnings of keys that are given twice in what is applied.

    Raises:
        ApiError: 422 under Strict.
    """
    found = _problems(decoded.duplicates)
    if found and validation == "Strict":
        raise _refused(kind, found[:_SHOWN], patch=True)
    return () if validation == "Ignore" else tuple(c.message for c in found[:_SHOWN])


def warnings_of(unknown: Sequence[UnknownField], validation: str) -> tuple[str, ...]:
    """Of fields that a JSON patch brought in and that were left out."""
    found = [_unknown(f) for f in sorted(unknown, key=lambda u: u.path)[:_SHOWN]]
    return () if validation == "Ignore" else tuple(c.message for c in found)


_SHOWN = 32
"""Problems that are named; clients and proxies limit the headers that warnings travel in."""


def _problems(duplicates: Sequence[str]) -> list[StatusCause]:
    return [StatusCause("FieldValueDuplicate", f'duplicate field "{p}"', p, "DuplicateKey") for p in duplicates]


def _unknown(field: UnknownField) -> StatusCause:
    hint = f', did you mean "{field.nearest}"?' if field.nearest else ""
    return StatusCause("UnknownField", f'unknown field "{field.path}"{hint}', field.path, "UnknownField")


def _refused(kind: Kind, causes: list[StatusCause], *, patch: bool) -> ApiError:
    shown = ", ".join(c.message for c in causes)
    text = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: {shown}'
    if not patch:
        return bad_request(text, causes)
    return ApiError(422, text, details={"group": kind.group, "kind": kind.kind}, causes=causes)


def _without_nulls(value: Any) -> Any:
    """`value` without members that are null. In a merge patch those delete, and what isn't there may be unknown.

    `kubectl apply` sends null for every field that the last file had and this one hasn't, unknown ones included.
    """
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value

"""Query parameters and DeleteOptions, checked: what a list, a watch, a write or a delete is asked to do."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from litefleet_controller.api.bodies import decode_json
from litefleet_controller.api.errors import ApiError, StatusCause, bad_request, invalid_options
from litefleet_controller.api.selectors import parse_fields, parse_labels
from litefleet_controller.api.served import Served
from litefleet_controller.store.interface import MAX_MANAGER_BYTES, Propagation, Query

MAX_VERSION = 2**63 - 1
"""Larger resourceVersions can't exist; they count as this one."""
MAX_WATCH_S = 3600.0
"""An open watch ends after this many seconds, or sooner when the client says so; clients then watch again."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a page ended, at which version the list began."""

    resource_version: int
    """-1: go on from the newest state, whatever came between."""
    namespace: str
    name: str

    def token(self, *, in_namespace: bool) -> str:
        """Opaque to clients; the form is Kubernetes' own: the place is relative to what is listed."""
        place = f"{self.name}\0" if in_namespace else f"{self.namespace}/{self.name}\0"
        members = {"v": "meta.k8s.io/v1", "rv": self.resource_version, "start": place}
        return base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class ListOptions:
    """A list or a watch."""

    query: Query
    watch: bool
    version: int | None
    """resourceVersion; None when unset, 0 for "any"."""
    continue_: Continue | None
    send_initial_events: bool
    bookmarks: bool
    timeout_s: float


def list_options(served: Served, namespace: str | None, params: QueryParams, *, watch: bool) -> ListOptions:
    """All of it, checked against itself.

    Raises:
        ApiError: 400 for what can't be parsed, 422 for what contradicts itself.
    """
    version = parse_version(params.get("resourceVersion", ""), strict=not watch)
    token = params.get("continue", "")
    if token and not watch and version not in (None, 0):
        raise bad_request("specifying resource version is not allowed when using continue")
    continue_ = _parse_continue(token, namespace) if token and not watch else None
    match, initial = params.get("resourceVersionMatch", ""), _flag(params, "sendInitialEvents")
    _check_match(match, version, initial=initial, watch=watch)
    limit = _number(params, "limit")
    exact = match == "Exact" or bool(limit and version and not match and not watch)
    query = Query(
        served.kind,
        namespace,
        parse_labels(params.get("labelSelector", "")),
        parse_fields(params.get("fieldSelector", ""), served.selectable_fields),
        None if watch or version == 0 else limit or None,
        (continue_.namespace, continue_.name) if continue_ else None,
        version if exact else continue_.resource_version if continue_ and continue_.resource_version >= 0 else None,
    )
    timeout = _number(params, "timeoutSeconds")
    return ListOptions(
        query,
        watch,
        version,
        continue_,
        initial,
        _flag(params, "allowWatchBookmarks"),
        min(float(timeout), MAX_WATCH_S) if timeout else MAX_WATCH_S,
    )


def is_watch(params: QueryParams) -> bool:
    """Whether `watch` asks for one."""
    return _flag(params, "watch")


def parse_version(text: str, *, strict: bool = True) -> int | None:
    """A resourceVersion; None when empty.

    Raises:
        ApiError: 400, it is no number.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        prefix = "invalid resource version: " if strict else ""
        fault = f'strconv.ParseUint: parsing "{text[:60]}": invalid syntax'  # in Kubernetes' words
        cause = StatusCause("FieldValueInvalid", "must be a number", "resourceVersion", "Invalid")
        raise bad_request(f'{prefix}resourceVersion: Invalid value: "{text[:60]}": {fault}', [cause])
    return min(int(text[:20]), MAX_VERSION)


def _check_match(match: str, version: int | None, *, initial: bool, watch: bool) -> None:
    problem = ""
    if initial and not watch:
        problem = "sendInitialEvents is forbidden for list"
    elif initial and match != "NotOlderThan":
        problem = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    elif watch and match and not initial:
        problem = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    elif not watch and match and version is None:
        problem = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif match == "Exact" and version == 0:
        problem = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    if problem:
        raise _invalid("ListOptions", "FieldValueForbidden", "resourceVersionMatch", f"Forbidden: {problem}")
    if match not in ("", "Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match[:60]}": supported values: "Exact", "NotOlderThan"'
        raise _invalid("ListOptions", "FieldValueNotSupported", "resourceVersionMatch", text)


def _parse_continue(token: str, listed: str | None) -> Continue:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
        members = decode_json(text.encode(), "invalid continue token: continue key is not valid: ").value
        place, version = members["start"].removesuffix("\0"), members["rv"]
        namespace, slash, name = place.partition("/") if listed is None else (listed, "/", place)
        if not slash or not isinstance(version, int) or not -1 <= version <= MAX_VERSION:
            raise ValueError("it names no place")
        namespace.encode(), name.encode()
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise bad_request(f"invalid continue token: {type(e).__name__}; begin the list anew without one") from e
    return Continue(version, namespace, name)


def _number(params: QueryParams, name: str) -> int:
    text = params.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        # The message is Kubernetes'; it doesn't say which parameter is meant, the cause does.
        cause = StatusCause("FieldValueInvalid", "must be a number from 0 to 10^18", name, "Invalid")
        raise bad_request(f'strconv.ParseInt: parsing "{text[:60]}": invalid syntax', [cause])
    return int(text)


def _flag(params: QueryParams, name: str) -> bool:
    """Kubernetes reads `1`, `true` and even other words as true; only these mean false."""
    return params.get(name, "").lower() not in ("", "0", "f", "false")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """A create, update or patch."""

    dry_run: bool
    validation: str
    """Strict, Warn or Ignore."""
    manager: str
    """Who owns what is written: fieldManager, else the program that the User-Agent names."""
    force: bool = False
    """Take fields over from others; for server-side apply."""


def write_options(kind: str, params: QueryParams, agent: str, *, apply: bool = False) -> WriteOptions:
    """`kind` is CreateOptions, UpdateOptions or PatchOptions, for the message; `agent` the User-Agent.

    Raises:
        ApiError: 422.
    """
    validation = params.get("fieldValidation", "") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        text = f'Unsupported value: "{validation[:60]}": supported values: "", "Ignore", "Strict", "Warn"'
        raise _invalid(kind, "FieldValueNotSupported", "fieldValidation", text)
    manager = _manager(kind, params.get("fieldManager", ""), required=apply) or _program(agent)
    if kind == "PatchOptions" and "force" in params and not apply:
        text = "Forbidden: may not be specified for non-apply patch"
        raise _invalid(kind, "FieldValueForbidden", "force", text)
    return WriteOptions(_dry_run(kind, params.getlist("dryRun")), validation, manager, _flag(params, "force"))


def _manager(kind: str, name: str, *, required: bool) -> str:
    if required and not name:
        raise _invalid(kind, "FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
    if len(name.encode("utf-8", "replace")) > MAX_MANAGER_BYTES:
        text = f"Too long: may not be more than {MAX_MANAGER_BYTES} bytes"
        raise _invalid(kind, "FieldValueTooLong", "fieldManager", text)
    if not name.isprintable():
        text = f"Invalid value: {json.dumps(name)}: should only contain printable characters"
        raise _invalid(kind, "FieldValueInvalid", "fieldManager", text)
    return name


def _program(agent: str) -> str:
    """The User-Agent up to the first slash, as far as it can be printed."""
    name = "".join(c for c in agent.partition("/")[0] if c.isprintable())
    return name.encode()[:MAX_MANAGER_BYTES].decode(errors="ignore") or "unknown"


def _dry_run(kind: str, values: list[str]) -> bool:
    if any(v != "All" for v in values):
        text = f'Unsupported value: {json.dumps([v[:60] for v in values[:3]])}: supported values: "All"'
        raise _invalid(kind, "FieldValueNotSupported", "dryRun", text)
    return bool(values)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """A delete."""

    dry_run: bool
    uid: str | None
    resource_version: int | None
    propagation: Propagation | None
    """None: as the object's finalizers say, else in the background."""


def delete_options(params: QueryParams, body: Any) -> DeleteOptions:
    """From the query and the body, which wins. A grace period is checked and means nothing: no object here runs.

    Raises:
        ApiError: 400 for another kind of body or values of another type, 422 for what contradicts itself.
    """
    given: Mapping[str, Any] = {} if body is None else body if isinstance(body, dict) else {"kind": "no object"}
    if given.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body of a delete must be DeleteOptions, not {str(given['kind'])[:60]!r}")
    propagation = _propagation(given, params)
    grace = given.get("gracePeriodSeconds")
    if grace is None:
        _number(params, "gracePeriodSeconds")
    elif not isinstance(grace, int) or isinstance(grace, bool):
        raise bad_request("DeleteOptions: gracePeriodSeconds must be a whole number")
    dry = given.get("dryRun") or params.getlist("dryRun")
    conditions = given.get("preconditions") or {}
    if not isinstance(dry, list) or not isinstance(conditions, dict):
        raise bad_request("DeleteOptions: dryRun must be a list and preconditions an object")
    uid, version = conditions.get("uid"), conditions.get("resourceVersion")
    return DeleteOptions(
        _dry_run("DeleteOptions", [str(v) for v in dry]),
        None if uid is None else str(uid),
        None if version is None else parse_version(str(version)),
        propagation,
    )


def _propagation(given: Mapping[str, Any], params: QueryParams) -> Propagation | None:
    """propagationPolicy, or what its predecessor orphanDependents means."""
    policy = given.get("propagationPolicy") or params.get("propagationPolicy")
    orphan = given.get("orphanDependents")
    if orphan is None and "orphanDependents" in params:
        orphan = _flag(params, "orphanDependents")
    if orphan is not None and not isinstance(orphan, bool):
        raise bad_request("DeleteOptions: orphanDependents must be true or false")
    if policy and orphan is not None:
        text = f'Invalid value: "{str(policy)[:60]}": orphanDependents and deletionPropagation cannot be both set'
        raise _invalid("DeleteOptions", "FieldValueInvalid", "propagationPolicy", text)
    if orphan is not None:
        return "Orphan" if orphan else "Background"
    match policy:
        case None | "":
            return None
        case "Foreground" | "Background" | "Orphan":
            return policy
    text = f'Unsupported value: "{str(policy)[:60]}": supported values: "Foreground", "Background", "Orphan", "nil"'
    raise _invalid("DeleteOptions", "FieldValueNotSupported", "propagationPolicy", text)


def _invalid(kind: str, reason: str, field: str, message: str) -> ApiError:
    return invalid_options(kind, [StatusCause(reason, message, field)])

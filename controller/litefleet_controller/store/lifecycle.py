"""What a write makes of an object, by Kubernetes' rules: pure, so that every rule is one test.

Server-owned metadata (uid, creationTimestamp, generation, deletionTimestamp) never come from a client; the main
resource leaves status alone and /status everything else; generation moves when something outside metadata and status
does, and when a delete marks the object.
"""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

from litefleet_controller.resources.admission import Cause, InvalidError, admit, check_status
from litefleet_controller.resources.kind import Kind
from litefleet_controller.resources.values import same
from litefleet_controller.store.apply.fieldset import key_step, value_step
from litefleet_controller.store.apply.tracking import disowned
from litefleet_controller.store.errors import ConflictError
from litefleet_controller.store.interface import Json, Key, Propagation, Subresource
from litefleet_controller.store.records import key_of, timestamp

_CLIENT_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""The collector's finalizers: the object waits for its dependents to be gone, or to be set free."""
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_NAME_MAX = 63


def metadata_of(kind: Kind, body: Json) -> dict[str, Any]:
    """The body's metadata, empty when absent.

    Raises:
        InvalidError: they aren't an object.
    """
    metadata = body.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise InvalidError(
            kind.kind,
            "",
            [
                Cause(
                    "metadata",
                    "FieldValueTypeInvalid",
                    f"must be an object, not {type(metadata).__name__}",
                    "TypeError",
                )
            ],
        )
    return metadata


def created(kind: Kind, body: Json, *, uid: str, now: datetime) -> Json:
    """A new object, without resourceVersion. A name is generated from `uid` when generateName asks for one.

    Raises:
        InvalidError: with every cause.
    """
    given = metadata_of(kind, body)
    if given.get("resourceVersion"):
        raise _invalid(kind, given, "metadata.resourceVersion", "must not be set on objects to be created")
    prefix = given.get("generateName")
    name = given.get("name")
    if not name and isinstance(prefix, str) and prefix:
        name = prefix[: _GENERATED_NAME_MAX - 5] + _suffix(uid)
    metadata = {
        **({"name": name} if name else {}),
        **({"generateName": prefix} if prefix else {}),
        **({"namespace": given.get("namespace") or "default"} if kind.namespaced else {}),
        "uid": uid,
        **({"generation": 1} if kind.has_generation else {}),
        "creationTimestamp": timestamp(now),
        **_client_metadata(given),
    }
    admitted = admit(kind, _prepared(kind, {"metadata": metadata, **content_of(kind, body)}), None)
    return judged(kind, None, {"apiVersion": kind.api_version, "kind": kind.kind, **admitted})


def updated(kind: Kind, old: Json, body: Json, subresource: Subresource) -> Json:
    """`old` after a write of `body`, its resourceVersion still the old one. Equal to `old` when nothing changes.

    Raises:
        InvalidError: with every cause.
        ConflictError: the body means an object of another uid.
    """
    given = metadata_of(kind, body)
    _check_identity(kind, old, body, given)
    if subresource == "status":
        return judged(kind, old, _with_status(kind, old, body.get("status")))
    metadata = {k: v for k, v in old["metadata"].items() if k not in _CLIENT_METADATA} | _client_metadata(given)
    admitted = admit(kind, _prepared(kind, {"metadata": metadata, **content_of(kind, body)}), old)
    metadata = admitted["metadata"]
    if "deletionTimestamp" in metadata:
        _refuse_new_finalizers(kind, old, metadata)
    before = content_of(kind, old)
    kept = {k: v for k, v in old.items() if k not in before}
    new = completed(kind, {**kept, **admitted, "metadata": metadata})
    if kind.has_generation and not same(content_of(kind, new), before):
        metadata["generation"] = old["metadata"]["generation"] + 1
    return judged(kind, old, new)


def content_of(kind: Kind, body: Json) -> Json:
    """What the main resource writes beside metadata: spec, and whatever else the kind has at its root."""
    others = ("apiVersion", "kind", "metadata", *(("status",) if kind.has_status else ()))
    return {k: v for k, v in body.items() if k not in others and v is not None}


def _prepared(kind: Kind, body: Json) -> Json:
    return body if kind.prepare is None else kind.prepare(body)


def completed(kind: Kind, body: Json) -> Json:
    """`body` with what the server adds."""
    return body if kind.complete is None else kind.complete(body)


def judged(kind: Kind, old: Json | None, new: Json) -> Json:
    """`new`, when the kind lets it follow `old`.

    Raises:
        InvalidError: with every cause.
    """
    causes = [] if kind.judge is None else kind.judge(old, new)
    if causes:
        raise InvalidError(kind.kind, new["metadata"]["name"], causes)
    return new


def check_version(kind: Kind, key: Key, body: Json, current: str) -> None:
    """The precondition of an update.

    Raises:
        InvalidError: there is no resourceVersion, or it is no number.
        ConflictError: it isn't the current one.
    """
    metadata = metadata_of(kind, body)
    version = metadata.get("resourceVersion")
    if not version:
        raise _invalid(kind, metadata, "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
    if not isinstance(version, str) or not version.isascii() or not version.isdecimal():
        raise _invalid(kind, metadata, "metadata.resourceVersion", "must be a number, as a string")
    if version != current:
        raise ConflictError(key)


def marked(old: Json, now: datetime) -> Json:
    """`old` with the mark that a delete leaves on an object whose finalizers are still at work."""
    metadata = old["metadata"]
    if "deletionTimestamp" in metadata:
        return old
    mark: dict[str, Any] = {"deletionTimestamp": timestamp(now), "deletionGracePeriodSeconds": 0}
    if "generation" in metadata:
        mark["generation"] = metadata["generation"] + 1
    return {**old, "metadata": {**metadata, **mark}}


def doomed(old: Json, propagation: Propagation | None) -> Json:
    """`old` with the collector's finalizers that a delete with this propagation asks for; None leaves them."""
    if propagation is None:
        return old
    before = old["metadata"].get("finalizers") or []
    wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation)
    kept = [f for f in before if f not in (FOREGROUND, ORPHAN) or f == wanted]
    return _with_finalizers(old, kept if wanted is None or wanted in kept else [*kept, wanted])


def released(body: Json, finalizer: str) -> Json:
    """`body` without a finalizer."""
    kept = [f for f in body["metadata"].get("finalizers") or () if f != finalizer]
    gone: dict[str, Any] = {value_step(finalizer): {}}
    lost = {"f:metadata": {"f:finalizers": gone if kept else {".": {}, **gone}}}
    return disowned(_with_finalizers(body, kept), lost)


def _with_finalizers(body: Json, finalizers: list[str]) -> Json:
    metadata = {k: v for k, v in body["metadata"].items() if k != "finalizers"}
    return {**body, "metadata": {**metadata, **({"finalizers": finalizers} if finalizers else {})}}


def is_finished(body: Json) -> bool:
    """Whether it was deleted and nothing holds it any more."""
    return "deletionTimestamp" in body["metadata"] and not body["metadata"].get("finalizers")


def without_owners(body: Json, uids: Collection[str]) -> Json:
    """`body` without the references to owners that are gone."""
    kept = [o for o in body["metadata"].get("ownerReferences", ()) if o["uid"] not in uids]
    metadata = {k: v for k, v in body["metadata"].items() if k != "ownerReferences"}
    gone: dict[str, Any] = {key_step({"uid": uid}): {} for uid in uids}
    lost = {"f:metadata": {"f:ownerReferences": gone if kept else {".": {}, **gone}}}
    return disowned({**body, "metadata": {**metadata, **({"ownerReferences": kept} if kept else {})}}, lost)


def unblocking(body: Json) -> Json:
    """`body` no longer in the way of its owners' foreground deletion."""
    owners = [{**o, "blockOwnerDeletion": False} for o in body["metadata"].get("ownerReferences", ())]
    return {**body, "metadata": {**body["metadata"], "ownerReferences": owners}}


def _with_status(kind: Kind, old: Json, status: Any) -> Json:
    if status is None:
        return {k: v for k, v in old.items() if k != "status"}
    return {**old, "status": check_status(kind, old["metadata"]["name"], status)}


def _client_metadata(given: dict[str, Any]) -> dict[str, Any]:
    """What a client may set. Empty maps and lists count as absent, so that writing one changes nothing."""
    return {k: given[k] for k in _CLIENT_METADATA if given.get(k) is not None and given[k] not in ({}, [])}


def _check_identity(kind: Kind, old: Json, body: Json, given: dict[str, Any]) -> None:
    causes = [
        Cause(field, "FieldValueInvalid", f'Invalid value: "{sent}": must be {stored}', "Immutable")
        for field, sent, stored in (
            ("apiVersion", _stored_version(kind, body), old["apiVersion"]),
            ("kind", body.get("kind"), old["kind"]),
            ("metadata.name", given.get("name"), old["metadata"]["name"]),
            ("metadata.namespace", given.get("namespace"), old["metadata"].get("namespace", "")),
        )
        if sent and sent != stored
    ]
    if causes:
        raise InvalidError(kind.kind, old["metadata"]["name"], causes)
    uid = given.get("uid")
    if uid and uid != old["metadata"]["uid"]:
        key = key_of(old)
        raise ConflictError(key, f"{kind.kind} {key.name!r} has another uid: it was deleted and created anew")


def _stored_version(kind: Kind, body: Json) -> Any:
    version = body.get("apiVersion")
    return kind.api_version if version in kind.versions else version


def _refuse_new_finalizers(kind: Kind, old: Json, metadata: dict[str, Any]) -> None:
    added = [f for f in metadata.get("finalizers", ()) if f not in old["metadata"].get("finalizers", ())]
    if added:
        found = ", ".join(f'"{name}"' for name in added)
        message = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{found}}}"
        )
        cause = Cause("metadata.finalizers", "FieldValueForbidden", message, "Forbidden")
        # Kubernetes names the cause twice, and says it once.
        raise InvalidError(kind.kind, old["metadata"]["name"], [cause, cause])


def _invalid(kind: Kind, metadata: dict[str, Any], field: str, message: str) -> InvalidError:
    return InvalidError(
        kind.kind, str(metadata.get("name", "")), [Cause(field, "FieldValueInvalid", message, "Invalid")]
    )


def _suffix(uid: str) -> str:
    """Five letters as Kubernetes appends them: no vowels, so that no words come out."""
    digest = hashlib.sha256(uid.encode()).digest()
    return "".join(_SUFFIX_LETTERS[b % len(_SUFFIX_LETTERS)] for b in digest[:5])

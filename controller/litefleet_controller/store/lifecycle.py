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
from litefleet_controller.resources.registry import Kind
from litefleet_controller.resources.values import same
from litefleet_controller.store.apply.fieldset import key_step, value_step
from litefleet_controller.store.apply.tracking import disowned
from litefleet_controller.store.errors import ConflictError
from litefleet_controller.store.interface import Json, Key, Propagation, Subresource
from litefleet_controller.store.records import timestamp

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
        "namespace": given.get("namespace") or "default",
        "uid": uid,
        "generation": 1,
        "creationTimestamp": timestamp(now),
        **_client_metadata(given),
    }
    admitted = admit(kind, {"metadata": metadata, "spec": body.get("spec")}, None)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **admitted}


def updated(kind: Kind, old: Json, body: Json, subresource: Subresource) -> Json:
    """`old` after a write of `body`, its resourceVersion still the old one. Equal to `old` when nothing changes.

    Raises:
        InvalidError: with every cause.
        ConflictError: the body means an object of another uid.
    """
    given = metadata_of(kind, body)
    _check_identity(kind, old, body, given)
    if subresource == "status":
        return _with_status(kind, old, body.get("status"))
    metadata = {k: v for k, v in old["metadata"].items() if k not in _CLIENT_METADATA} | _client_metadata(given)
    admitted = admit(kind, {"metadata": metadata, "spec": body.get("spec")}, old)
    if "deletionTimestamp" in metadata:
        _refuse_new_finalizers(kind, old, metadata)
    if not same(admitted.get("spec"), old.get("spec")):
        metadata["generation"] = old["metadata"]["generation"] + 1
    return {**{k: v for k, v in old.items() if k != "spec"}, **admitted, "metadata": metadata}


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
            ("apiVersion", body.get("apiVersion"), old["apiVersion"]),
            ("kind", body.get("kind"), old["kind"]),
            ("metadata.name", given.get("name"), old["metadata"]["name"]),
            ("metadata.namespace", given.get("namespace"), old["metadata"]["namespace"]),
        )
        if sent and sent != stored
    ]
    if causes:
        raise InvalidError(kind.kind, old["metadata"]["name"], causes)
    uid = given.get("uid")
    if uid and uid != old["metadata"]["uid"]:
        key = Key(kind.kind, old["metadata"]["namespace"], old["metadata"]["name"])
        raise ConflictError(key, f"{kind.kind} {key.name!r} has another uid: it was deleted and created anew")


def _refuse_new_finalizers(kind: Kind, old: Json, metadata: dict[str, Any]) -> None:
    added = [f for f in metadata.get("finalizers", ()) if f not in old["metadata"].get("finalizers", ())]
    if added:
        message = f"Forbidden: no new finalizers can be added if the object is being deleted, found {', '.join(added)}"
        cause = Cause("metadata.finalizers", "FieldValueForbidden", message, "Forbidden")
        raise InvalidError(kind.kind, old["metadata"]["name"], [cause])


def _invalid(kind: Kind, metadata: dict[str, Any], field: str, message: str) -> InvalidError:
    return InvalidError(
        kind.kind, str(metadata.get("name", "")), [Cause(field, "FieldValueInvalid", message, "Invalid")]
    )


def _suffix(uid: str) -> str:
    """Five letters as Kubernetes appends them: no vowels, so that no words come out."""
    digest = hashlib.sha256(uid.encode()).digest()
    return "".join(_SUFFIX_LETTERS[b % len(_SUFFIX_LETTERS)] for b in digest[:5])

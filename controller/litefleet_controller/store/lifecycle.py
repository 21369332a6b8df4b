"""What a write makes of an object, by Kubernetes' rules: pure, so that every rule is one test.

Server-owned metadata (uid, creationTimestamp, generation, deletionTimestamp) never come from a client; the main
resource leaves status alone and /status everything else; generation moves when something outside metadata and status
does, and when a delete marks the object.
"""

import hashlib
from datetime import datetime
from typing import Any

from litefleet_controller.resources.admission import Cause, InvalidError, admit, check_status
from litefleet_controller.resources.registry import Kind
from litefleet_controller.store.errors import ConflictError
from litefleet_controller.store.interface import Json, Key, Subresource
from litefleet_controller.store.records import timestamp

_CLIENT_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
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
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": admitted["spec"]}


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
    spec = admit(kind, {"metadata": metadata, "spec": body.get("spec")}, old)["spec"]
    if "deletionTimestamp" in metadata:
        _refuse_new_finalizers(kind, old, metadata)
    if spec != old.get("spec"):
        metadata["generation"] = old["metadata"]["generation"] + 1
    return {**old, "metadata": metadata, "spec": spec}


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


def is_finished(body: Json) -> bool:
    """Whether it was deleted and nothing holds it any more."""
    return "deletionTimestamp" in body["metadata"] and not body["metadata"].get("finalizers")


def without_owner(body: Json, uid: str) -> Json:
    """`body` without the references to an owner that is gone."""
    kept = [o for o in body["metadata"].get("ownerReferences", ()) if o["uid"] != uid]
    metadata = {k: v for k, v in body["metadata"].items() if k != "ownerReferences"}
    return {**body, "metadata": {**metadata, **({"ownerReferences": kept} if kept else {})}}


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

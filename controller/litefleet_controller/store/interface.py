"""The store's ports. Everything above persists through these; only store/ and telemetry/ speak SQL.

An object is a JSON document in Kubernetes' form (apiVersion, kind, metadata, spec, status). The store keeps its
serialized bytes, so that a list costs no re-encoding. It owns Kubernetes' write semantics: uid, resourceVersion,
generation, no-op writes, finalizers, status isolation, optimistic concurrency. It admits nothing unchecked:
resources.admission runs on every create, replace and patch.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

from litefleet_controller.resources.pruning import UnknownField

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Identity of an object. `kind` is e.g. `ModelRollout`."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """An object as stored. `body` is the whole object as compact UTF-8 JSON, resourceVersion included."""

    key: Key
    uid: str
    resource_version: int
    generation: int
    labels: dict[str, str]
    body: bytes

    def json(self) -> Json:
        """The object, decoded anew at each call, so that the caller may change it."""
        import json

        decoded: Json = json.loads(self.body)
        return decoded


class EventType(StrEnum):
    """As in a Kubernetes watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Event:
    """A change. `record` after it (for DELETED: last state, with the deletion's resourceVersion).

    `previous` is the state before it (None for ADDED), for watches with a selector that an object may leave or enter.
    """

    type: EventType
    record: Record
    previous: Record | None


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One requirement of a label selector; `NOT_IN` holds for objects without the label, as in Kubernetes."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One requirement of a field selector: JSON path without the leading dot, `=` or `!=`."""

    path: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class Query:
    """What a list or a watch is about. `namespace` None means all."""

    kind: str
    namespace: str | None = None
    labels: tuple[LabelRequirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()
    limit: int | None = None
    after: tuple[str, str] | None = None
    """(namespace, name) of the last object of the page before."""
    at: int | None = None
    """A list's resourceVersion, when it isn't to be the newest."""


@dataclass(frozen=True, slots=True)
class Page:
    """Objects in the order of namespace and name, at one resourceVersion."""

    records: Sequence[Record]
    resource_version: int
    remaining: int = 0
    """Objects after this page."""

    def bodies(self) -> Sequence[bytes]:
        """The objects' bytes. Records that are read from rows are only made when somebody looks at them."""
        ready: Callable[[], Sequence[bytes]] | None = getattr(self.records, "bodies", None)
        return ready() if ready is not None else [r.body for r in self.records]


OnUnknown = Callable[[Sequence[UnknownField]], None]


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch (RFC 7396, `body` a dict), a JSON patch (RFC 6902, a list), or a strategic merge patch (a dict)."""

    type: Literal["merge", "json", "strategic"]
    body: Any
    on_unknown: OnUnknown | None = None
    """Told of fields that the kind doesn't have, which are then left out. Without it they are refused.

    For JSON patches: what they bring in is seen only when they are applied.
    """


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a delete did: `gone`, or only marked because finalizers are left."""

    record: Record
    gone: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did."""

    record: Record
    created: bool


Subresource = Literal["", "status", "scale"]
"""`scale` writes what the empty one does, and is named in managedFields."""
OWN_MANAGER = "litefleet"
"""The field manager of litefleet's own writes."""
MAX_MANAGER_BYTES = 128
"""Longest name of a field manager."""
Propagation = Literal["Background", "Foreground", "Orphan"]
"""What becomes of an object's dependents when it is deleted."""

T_co = TypeVar("T_co", covariant=True)


class Stream(Protocol[T_co]):
    """An AsyncIterator that ends by `aclose()`, also while another task waits in it. It begins when it is made."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    async def __anext__(self) -> T_co: ...

    async def aclose(self) -> None:
        """End it. Twice is once."""
        ...


class Objects(Protocol):
    """Objects with Kubernetes' semantics. Errors are those of store.errors."""

    async def get(self, key: Key) -> Record:
        """Raises: NotFoundError."""
        ...

    async def list(self, query: Query) -> Page:
        """A page of objects.

        Raises: ExpiredError, the query's version is older than the history that is kept.
        """
        ...

    async def create(self, body: Json, *, manager: str = OWN_MANAGER, dry_run: bool = False) -> Record:
        """`manager` owns the fields, here and in all that follow (metadata.managedFields).

        Raises: AlreadyExistsError, resources.admission.InvalidError, NamespaceNotFoundError.
        """
        ...

    async def replace(
        self,
        key: Key,
        body: Json,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """PUT. The body's metadata.resourceVersion is the precondition.

        Raises: NotFoundError, ConflictError, InvalidError.
        """
        ...

    async def patch(
        self,
        key: Key,
        patch: Patch,
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
        dry_run: bool = False,
    ) -> Record:
        """Retried inside against concurrent writers, unless the patch names a resourceVersion.

        Raises: NotFoundError, ConflictError, InvalidError, PatchError.
        """
        ...

    async def apply(
        self,
        key: Key,
        body: Json,
        *,
        manager: str,
        force: bool = False,
        subresource: Subresource = "",
        dry_run: bool = False,
    ) -> Applied:
        """Server-side apply: `body` is all that `manager` wants to own of the object, which is made when missing.

        `body` names apiVersion, kind, and name and namespace in its metadata.

        Raises: NotFoundError (a subresource of a missing object), NamespaceNotFoundError, ConflictError,
        ApplyConflictError (others own what it would change, and it has no `force`), InvalidError.
        """
        ...

    async def mutate(
        self,
        key: Key,
        change: Callable[[Json], Json | None],
        *,
        subresource: Subresource = "",
        manager: str = OWN_MANAGER,
    ) -> Record:
        """Read, change, compare and swap, again on conflict. `change` gives None to leave the object as it is.

        Raises: NotFoundError, InvalidError.
        """
        ...

    async def delete(
        self,
        key: Key,
        *,
        uid: str | None = None,
        resource_version: int | None = None,
        propagation: Propagation | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """Without `propagation` dependents go in the background, unless the object's finalizers say otherwise.

        Raises: NotFoundError, PreconditionError.
        """
        ...

    def watch(self, query: Query, since: int | None) -> Stream[Event]:
        """Events after resourceVersion `since` (None: from now), as the query's selectors see them, until closed.

        An object that leaves the selector is DELETED, one that enters it ADDED. Ends only by `aclose()`, or:

        Raises: ExpiredError when `since` is older than what is kept, or the reader fell too far behind.
        """
        ...

    async def resource_version(self) -> int:
        """The newest resourceVersion."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one slot of one board was commanded to run."""

    namespace: str
    device: str
    slot: str
    version: str
    artifact: str
    """Digest of the artifact manifest."""
    fallback: str | None
    rollout: str
    """ModelRollout's name."""
    probation_s: float
    deadline_s: float | None
    max_latency_ms: float | None
    max_memory_bytes: int | None
    assigned_at: datetime


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A status to write in the same transaction, if the object still has `resource_version`."""

    key: Key
    resource_version: int
    status: Json


@dataclass(frozen=True, slots=True)
class AssignmentBatch:
    """Assignments that change together, with the status that explains them."""

    set: Sequence[Assignment] = ()
    clear: Sequence[tuple[str, str, str]] = ()
    """(namespace, device, slot)."""
    status: StatusWrite | None = field(default=None)


class Assignments(Protocol):
    """Desired state, a row for each slot of each board, and a counter for each board that grows with every change."""

    async def of_device(self, namespace: str, device: str) -> tuple[int, Sequence[Assignment]]:
        """The board's counter (0 when it never had any) and its assignments."""
        ...

    async def of_slot(self, namespace: str, slot: str) -> Sequence[Assignment]:
        """All boards' assignments of one slot, in the order of device names."""
        ...

    async def devices(self) -> Sequence[tuple[str, str, int]]:
        """(namespace, device, counter) of every board that ever had an assignment."""
        ...

    async def commit(self, batch: AssignmentBatch, *, epoch: int) -> Record | None:
        """Write it all in one transaction, if this process still leads in `epoch`; the status's new record.

        Raises: StaleEpochError (nothing was written), ConflictError (the status's object moved on; nothing written).
        """
        ...

    def changes(self) -> Stream[tuple[str, str]]:
        """(namespace, device) of each board whose assignments this process changes, from now on."""
        ...

    async def artifacts_in_use(self) -> set[tuple[str, str]]:
        """(namespace, artifact digest) of everything assigned or named as a fallback."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership: who, in which epoch, until when."""

    holder: str
    epoch: int
    expires_at: datetime


class Leases(Protocol):
    """One row. Taking it raises the epoch; renewing doesn't."""

    async def acquire(self, holder: str, now: datetime, seconds: float) -> Lease | None:
        """Take or renew for `seconds`; None while another holder's lease runs.

        It is taken over before its end when its holder is certainly gone, and when this process has seen it
        unrenewed for `seconds`: so call this more often than that.
        """
        ...

    async def release(self, holder: str) -> None:
        """Give it up, so that the next one needn't wait."""
        ...

    async def raise_epoch(self, holder: str, at_least: int) -> Lease | None:
        """Lift the epoch to `at_least` (a restored database must start above what devices report)."""
        ...

"""What the store refuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from litefleet_controller.store.interface import Key


class StoreError(Exception):
    """Root of the store's refusals."""


class UnavailableError(StoreError):
    """The database can't be used now; nothing was changed, and what is stored is as it was. It may work in a while."""

    is_condition = True
    """It is where the program stands, no fault in it: logs say it in a line, without a traceback (see logs.py)."""


class DatabaseFullError(UnavailableError):
    """The disk under the database, or a limit on it, has no room."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no room for the database: {reason}; free some space where the controller keeps its data")


class DatabaseLockedError(UnavailableError):
    """Somebody else kept the database locked for longer than is waited for."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database can't be written: {reason}; end what locks it (a backup, a sqlite3 shell)")


class NotFoundError(StoreError):
    """There is no such object."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"{key.kind} {key.name!r} not found in namespace {key.namespace!r}")
        self.key = key


class NamespaceNotFoundError(StoreError):
    """There is no such namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"namespace {namespace!r} not found")
        self.namespace = namespace


class NamespaceTerminatingError(StoreError):
    """Nothing new is made in a namespace that is being deleted."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"{key.kind} {key.name!r} can't be made: namespace {key.namespace!r} is being deleted")
        self.key = key


class ProtectedError(StoreError):
    """It may not be deleted: litefleet can't do without it."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"{key.kind} {key.name!r} may not be deleted")
        self.key = key


class AlreadyExistsError(StoreError):
    """The name is taken."""

    def __init__(self, key: Key, *, being_deleted: bool = False) -> None:
        super().__init__(f"{key.kind} {key.name!r} already exists" + (" and is being deleted" if being_deleted else ""))
        self.key = key
        self.being_deleted = being_deleted


class ConflictError(StoreError):
    """The object moved on: read it again and apply the change to that."""

    def __init__(self, key: Key, message: str = "") -> None:
        super().__init__(message or f"{key.kind} {key.name!r} has been modified; read the latest version and try again")
        self.key = key


class PreconditionError(ConflictError):
    """A delete named a uid or a resourceVersion that the object doesn't have."""


@dataclass(frozen=True, slots=True)
class ApplyConflict:
    """A field that an apply would change, and who owns it (as a message names it, with quotes)."""

    manager: str
    field: str


class ApplyConflictError(StoreError):
    """An apply would change fields that others own: leave them out, take them over by force, or agree."""

    def __init__(self, conflicts: Sequence[ApplyConflict]) -> None:
        if len(conflicts) == 1:
            text = f"1 conflict: conflict with {conflicts[0].manager}: {conflicts[0].field}"
        else:
            by_manager = groupby(conflicts, key=lambda c: c.manager)
            lines = [
                line for who, of in by_manager for line in (f"conflicts with {who}:", *(f"- {c.field}" for c in of))
            ]
            text = f"{len(conflicts)} conflicts: " + "\n".join(lines)
        super().__init__(f"Apply failed with {text}")
        self.conflicts = conflicts


class PatchError(StoreError):
    """A patch that can't be applied. `malformed`: it is no patch at all (400), else it doesn't fit (422)."""

    def __init__(self, message: str, *, malformed: bool = False) -> None:
        super().__init__(message)
        self.malformed = malformed


class ExpiredError(StoreError):
    """A resourceVersion older than the history that is kept."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {requested} ({oldest})")
        self.requested = requested
        self.oldest = oldest


class StaleEpochError(StoreError):
    """This process does not lead any more."""

    def __init__(self, mine: int, current: int) -> None:
        super().__init__(f"epoch {mine} is over; the leader's is {current}")
        self.mine = mine
        self.current = current


class FieldNotSelectableError(StoreError):
    """A field selector names a field that the kind doesn't index."""

    def __init__(self, kind: str, path: str) -> None:
        super().__init__(f"field label not supported: {path}")
        self.kind = kind
        self.path = path


class DatabaseVersionError(StoreError):
    """A newer litefleet wrote this database."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"this database was written by a newer litefleet: start that version ({detail})")

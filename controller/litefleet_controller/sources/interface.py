"""The port to fetching, and what is said of a file that is under way. reconcile/ asks; nothing here knows of Models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that somebody needs."""

    uri: str
    digest: str | None = None
    """What it must be; None when whatever is found there will do."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """It is among the blobs."""

    digest: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """It is under way."""

    received: int = 0
    """Bytes."""
    total: int | None = None
    """Bytes, when the other side said so."""


class SourceError(Exception):
    """A file that isn't fetched.

    Attributes:
        code: stable: HostNotAllowed, AddressNotAllowed, NotFound, AccessDenied, TooLarge, DigestMismatch, Timeout, ...
        final: the same configuration would bring it again, whatever the other side does.
        hint: what to do about it, empty when the message says it already.
        retry_after_s: what the other side asked for.
        is_passing: a fault of the moment (cut, timeout, 5xx), worth trying again at once.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        final: bool = False,
        hint: str = "",
        is_passing: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.final = final
        self.hint = hint
        self.is_passing = is_passing
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class NotFetched:
    """It couldn't be fetched."""

    code: str
    message: str
    """One sentence, with what to do."""
    retry_in_s: float | None
    """When it is tried again; None when the same would come of it."""


State = Fetched | Fetching | NotFetched
Tell = Callable[[Fetching], None]


class Fetcher(Protocol):
    """Brings one file into the blobs."""

    async def fetch(self, wanted: Wanted, tell: Tell) -> Fetched:
        """The file, from where its URI says. `tell` is called on the event loop.

        Cancelled, or killed, it goes on where it was the next time.

        Raises: SourceError.
        """
        ...

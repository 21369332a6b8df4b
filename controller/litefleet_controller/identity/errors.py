"""What identity/ refuses.

Refusals of what a peer sent are ProtocolErrors, so that they carry a wire code and reach the board as they are.
"""

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError


class TokenError(ProtocolError):
    """An enrollment token that can't be redeemed: `TokenInvalid`, `TokenUsed` or `TokenExpired`."""


class BadCsrError(ProtocolError):
    """A certificate signing request that the fleet CA won't sign."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(Code.BAD_CSR, reason, field="csr", hint=hint)


class LifetimeError(ValueError):
    """A token's lifetime that is out of range."""


class HostError(ValueError):
    """A host that can't stand in a certificate."""


class AuthorityError(Exception):
    """The fleet's keys can't be read or made. The message names the file and says what to do."""

"""Tokens: one-time ones for boards that join, lasting ones for people and programs.

Secrets are 32 random bytes and leave this module once, at creation; the database has only their SHA-256. Nothing is
cached: a revoked token is refused by the next request. Called by fleet/ (enrollment) and api/ (authentication).
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from litefleet_controller.identity.errors import LifetimeError, TokenError
from litefleet_controller.identity.roles import Person, Role
from litefleet_controller.identity.tables import AccessTokenRow, EnrollmentTokenRow
from litefleet_protocol.codes import Code
from litefleet_protocol.names import check_name

Sessions = async_sessionmaker[AsyncSession]
ACCESS_PREFIX = "lfa1."
"""Begins every bearer token, so that scanners of repositories and logs can find leaked ones."""
MAX_ENROLLMENT_TTL_S = 30 * 86_400.0
MAX_ACCESS_TTL_S = 10 * 365 * 86_400.0
CLOCK_GRAIN = timedelta(minutes=10)
"""A token that was made later than so much from now was made under a clock that ran ahead, and so was its end: it
would be good for years."""
RETRY_WINDOW = timedelta(minutes=10)
"""How long a board whose answer got lost may repeat the same request."""


def random_secret() -> str:
    """32 random bytes as base64url, 43 characters."""
    return secrets.token_urlsafe(32)


class EnrollmentTokens:
    """Single-use tokens. The namespace stands in the token's row: a board never chooses its tenant."""

    def __init__(self, sessions: Sessions, random: Callable[[], str] = random_secret) -> None:
        self._sessions = sessions
        self._random = random

    async def create(self, namespace: str, ttl_s: float, now: datetime, by: str) -> str:
        """Make a token that lets one board join `namespace` within `ttl_s` seconds; its secret.

        Raises:
            LifetimeError: `ttl_s` is not above 0 and at most 30 days.
            ProtocolError: `InvalidName`.
        """
        check_name(namespace, "namespace")
        lifetime = _lifetime(ttl_s, MAX_ENROLLMENT_TTL_S)
        secret = self._random()
        async with self._sessions() as session:
            session.add(
                EnrollmentTokenRow(
                    hash=_hash(secret), namespace=namespace, created_by=by, created_at=now, expires_at=now + lifetime
                )
            )
            await session.commit()
        return secret

    async def redeem(self, secret: str, device: str, key_sha256: str, now: datetime) -> str:
        """Use a token up for `device` and its key (`SigningRequest.key_sha256`); the namespace it joins.

        The same board with the same key may ask again for ten minutes, for an answer that got lost on the way.

        Raises:
            TokenError: `TokenInvalid`, `TokenUsed` or `TokenExpired`.
        """
        token = col(EnrollmentTokenRow.hash) == _hash(secret)
        take = (
            update(EnrollmentTokenRow)
            .where(
                token,
                col(EnrollmentTokenRow.used_at).is_(None),
                col(EnrollmentTokenRow.expires_at) > now,
                col(EnrollmentTokenRow.created_at) <= now + CLOCK_GRAIN,
            )
            .values(used_at=now, used_by=device, key_sha256=key_sha256)
            .execution_options(synchronize_session=False)
        )
        async with self._sessions() as session:
            # The write comes first: of many at once one wins, and SQLite needn't upgrade a read lock.
            await session.exec(take)
            row = (await session.exec(select(EnrollmentTokenRow).where(token))).one_or_none()
            await session.commit()
        return _namespace_of(row, device, key_sha256, now)


def _namespace_of(row: EnrollmentTokenRow | None, device: str, key_sha256: str, now: datetime) -> str:
    """Judge a row after the attempt to take it: it is this board's, or it was refused."""
    if row is None:
        raise TokenError(Code.TOKEN_INVALID, "no such enrollment token", field="secret", hint=_NEW_TOKEN)
    if row.used_at is None and row.created_at > now + CLOCK_GRAIN:
        raise TokenError(
            Code.TOKEN_EXPIRED,
            f"the enrollment token was made at {row.created_at:%Y-%m-%d %H:%M:%S} UTC, which is yet to come: the "
            "controller's clock was wrong then",
            field="secret",
            hint=_NEW_TOKEN,
        )
    if row.used_at is None:
        raise TokenError(
            Code.TOKEN_EXPIRED,
            f"the enrollment token expired at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC",
            field="secret",
            hint=_NEW_TOKEN,
        )
    mine = row.used_by == device and row.key_sha256 == key_sha256 and abs(now - row.used_at) <= RETRY_WINDOW
    if not mine:
        raise TokenError(Code.TOKEN_USED, "the enrollment token was used already", field="secret", hint=_NEW_TOKEN)
    return row.namespace


_NEW_TOKEN = "make a new one with 'litefleet device token create'"  # noqa: S105 - a hint, not a secret


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What may be shown of a token."""

    id: str
    """The first 12 digits of its hash."""
    person: Person
    created_at: datetime
    expires_at: datetime | None


class AccessTokens:
    """Bearer tokens of people and programs."""

    def __init__(self, sessions: Sessions, random: Callable[[], str] = random_secret) -> None:
        self._sessions = sessions
        self._random = random

    async def create(self, name: str, role: Role, namespace: str | None, ttl_s: float | None, now: datetime) -> str:
        """Make a token for `name`; the bearer text, which can't be shown again. `ttl_s` None: until revoked.

        Raises:
            LifetimeError: `ttl_s` is not above 0 and at most ten years.
            ProtocolError: `InvalidName`.
        """
        check_name(name, "name")
        if namespace is not None:
            check_name(namespace, "namespace")
        expires_at = None if ttl_s is None else now + _lifetime(ttl_s, MAX_ACCESS_TTL_S)
        bearer = ACCESS_PREFIX + self._random()
        row = AccessTokenRow(
            hash=_hash(bearer), name=name, role=Role(role), namespace=namespace, created_at=now, expires_at=expires_at
        )
        async with self._sessions() as session:
            session.add(row)
            await session.commit()
        return bearer

    async def authenticate(self, bearer: str, now: datetime) -> Person | None:
        """The person a bearer text stands for; None when it is unknown, expired or revoked."""
        async with self._sessions() as session:
            row = await session.get(AccessTokenRow, _hash(bearer))
        if row is None or row.revoked_at is not None or _is_over(row, now):
            return None
        return _person(row)

    async def revoke(self, name: str, now: datetime) -> int:
        """Revoke every token of `name`; how many there were."""
        live = (col(AccessTokenRow.name) == name, col(AccessTokenRow.revoked_at).is_(None))
        async with self._sessions() as session:
            change = update(AccessTokenRow).where(*live).values(revoked_at=now)
            result = await session.exec(change.execution_options(synchronize_session=False))
            await session.commit()
        return int(result.rowcount)

    async def list(self, now: datetime) -> Sequence[AccessToken]:
        """The tokens that work now, by name and age."""
        query = (
            select(AccessTokenRow)
            .where(col(AccessTokenRow.revoked_at).is_(None))
            .order_by(col(AccessTokenRow.name), col(AccessTokenRow.created_at))
        )
        async with self._sessions() as session:
            rows = (await session.exec(query)).all()
        return [
            AccessToken(row.hash[:12], _person(row), row.created_at, row.expires_at)
            for row in rows
            if not _is_over(row, now)
        ]


async def end_tokens(connection: AsyncConnection, namespace: str, now: datetime) -> None:
    """End all tokens that are bound to a namespace, with it: people's are revoked, boards' can't be used any more."""
    bound = (col(AccessTokenRow.namespace) == namespace, col(AccessTokenRow.revoked_at).is_(None))
    await connection.execute(update(AccessTokenRow).where(*bound).values(revoked_at=now))
    await connection.execute(delete(EnrollmentTokenRow).where(col(EnrollmentTokenRow.namespace) == namespace))


def _is_over(row: AccessTokenRow, now: datetime) -> bool:
    """Whether its time is over, or was set by a clock that ran ahead. A token without an end needs no clock."""
    return row.expires_at is not None and (row.expires_at <= now or row.created_at > now + CLOCK_GRAIN)


def _person(row: AccessTokenRow) -> Person:
    return Person(row.name, Role(row.role), row.namespace)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _lifetime(seconds: float, longest: float) -> timedelta:
    if not 0 < seconds <= longest:  # also refuses NaN
        raise LifetimeError(f"a lifetime of {seconds} s; it must be above 0 and at most {longest:.0f} s")
    return timedelta(seconds=seconds)

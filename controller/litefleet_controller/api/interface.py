"""The ports that the API is built from. The composition root fills them; nothing here knows who implements them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.interface import Event, Key, Objects, Page, Query, Record


class Person(Protocol):
    """Whoever a bearer token belongs to."""

    @property
    def name(self) -> str:
        """As shown in answers and in the audit trail."""
        ...

    @property
    def role(self) -> str:
        """viewer, operator or admin."""
        ...

    @property
    def namespace(self) -> str | None:
        """The only namespace it may touch, None for all."""
        ...

    @property
    def uid(self) -> str:
        """Tells two of one name apart."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """What it belongs to, as `kubectl auth whoami` shows it."""
        ...


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Whoever sends no token: Kubernetes' name for it, and no rights at all. A `Person`."""

    name: str = "system:anonymous"
    role: str = ""
    namespace: str | None = None
    uid: str = ""
    groups: tuple[str, ...] = ("system:unauthenticated",)


ANONYMOUS = Anonymous()
Authenticate = Callable[[str, datetime], Awaitable[Person | None]]
"""(bearer token, now) -> who it is, None when the token is unknown, revoked or expired."""
Allowed = Callable[[Person, str, str, str | None], bool]
"""(person, verb, resource, namespace) -> may it. Resources are plurals, `plural/status` for a subresource."""


class Reader(Protocol):
    """What a resource needs to be got, listed and watched. Objects is one."""

    async def get(self, key: Key) -> Record:
        """Raises: NotFoundError."""
        ...

    async def list(self, query: Query) -> Page:
        """A page of objects."""
        ...

    def watch(self, query: Query, since: int | None) -> AsyncIterator[Event]:
        """Events after `since`. Raises: ExpiredError."""
        ...

    async def resource_version(self) -> int:
        """The newest resourceVersion."""
        ...


PUBLIC_PATHS = frozenset({"/version", "/healthz", "/livez", "/readyz", "/fleet/v1/ca", "/fleet/v1/enroll"})
"""Answered without a token: versions and health as in Kubernetes; enrollment brings its own credential."""


@dataclass(frozen=True, slots=True)
class ApiDependencies:
    """All that the Kubernetes-compatible API stands on."""

    registry: Registry
    objects: Objects
    authenticate: Authenticate
    allowed: Allowed
    clock: Callable[[], datetime]
    version: str = "0.1.0"
    public_paths: frozenset[str] = PUBLIC_PATHS
    anonymous: bool = False
    """Whether who sends no token is somebody without rights (403, as in Kubernetes by default) or nobody (401)."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set before the server stops, so that open watches end cleanly."""
    trouble: Callable[[], Exception | None] = lambda: None
    """Why nothing can be written now; None when it can. `/readyz` says it."""
    recheck_s: float = 30.0
    """Time between two looks whether the one who watches still may: a revoked token ends open watches too."""

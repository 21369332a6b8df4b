"""Results of one kind of step: made once for all who want the same at the same time, and kept for later ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from litefleet_controller.convert.cache import Entry, EntryFolder, key_hash
from litefleet_controller.convert.flights import Flights
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import Stage

K = TypeVar("K", bound=Struct)
E = TypeVar("E", bound=Entry)


class Kept(Generic[K, E]):
    """By what decides them, K."""

    def __init__(self, bench: Workbench, folder: str, kind: Any, make: Callable[[K, Listener], Awaitable[E]]) -> None:
        """`folder` of the cache holds entries of `kind`, E as a type or union; `make` computes one."""
        self._blobs = bench.blobs
        self._entries: EntryFolder[E] = EntryFolder(bench.cache / folder, kind)
        self._flights: Flights[E, Stage] = Flights()
        self._compute = make

    async def get(self, key: K, listener: Listener) -> E:
        """The entry of `key`, computed unless it is there.

        Raises: ConversionError.
        """
        found = await self.find(key)
        return found if found is not None else await self.make(key, listener)

    async def find(self, key: K) -> E | None:
        """An entry whose blobs are still there."""
        entry = await asyncio.to_thread(self._entries.read, key_hash(key))
        if entry is None:
            return None
        for digest in entry.blobs:
            if await self._blobs.size(digest) is None:
                return None
        return entry

    async def make(self, key: K, listener: Listener) -> E:
        """The entry of `key`, computed anew unless that is under way.

        Raises: ConversionError.
        """
        name = key_hash(key)
        return await self._flights.join(name, lambda tell: self._make(key, name, tell), listener)

    async def _make(self, key: K, name: str, tell: Listener) -> E:
        entry = await self._compute(key, tell)
        await asyncio.to_thread(self._entries.write, name, entry)
        return entry

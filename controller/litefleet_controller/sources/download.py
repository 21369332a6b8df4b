"""A file from a web server, however often the connection ends: what is here already isn't asked for again.

Ranges are asked for with If-Range and a strong validator, so that a file that changed meanwhile comes whole; where
there is none, or the server doesn't know ranges, the download begins anew (RFC 9110, 14.2 and 13.1.5).
"""

import asyncio
from collections.abc import Awaitable, Callable

from litefleet_controller.resources.uris import HttpUri
from litefleet_controller.sources.answers import check_size, meaning
from litefleet_controller.sources.exchange import Answer, Exchange, Patience
from litefleet_controller.sources.interface import Fetching, SourceError, Tell
from litefleet_controller.sources.partial import Partial, Validator
from litefleet_controller.sources.policy import SourcePolicy

Target = Callable[[], Awaitable[tuple[HttpUri, SourcePolicy | None]]]
"""Where to ask now, and the policy that holds there. Asked before each try: a signed URL is good for a while only."""


class Download:
    """One file."""

    def __init__(self, exchange: Exchange, patience: Patience, max_bytes: int, target: Target) -> None:
        self._exchange = exchange
        self._patience = patience
        self._max_bytes = max_bytes
        self._target = target

    async def run(self, partial: Partial, known: Validator, tell: Tell) -> bool:
        """Complete `partial`. False when the file is still in the state `known`, and nothing was fetched.

        Raises:
            SourceError: after several tries in a row that brought nothing, when another might.
            StorageFullError, OSError: by the disk.
        """
        failures = 0
        if 0 < partial.received == partial.total:
            return True  # ended between the last byte and what comes after
        while True:
            before = partial.received
            try:
                return await self._try(partial, known, tell)
            except SourceError as e:
                failures = 1 if partial.received - before >= self._patience.window_bytes else failures + 1
                if not e.is_passing or failures >= self._patience.tries:
                    raise
                # What the other side asks for is waited out by whoever asks again later; here only for moments.
                await asyncio.sleep(
                    max(self._pause(failures), min(e.retry_after_s or 0.0, self._patience.longest_pause_s))
                )

    def _pause(self, failures: int) -> float:
        return float(min(self._patience.longest_pause_s, self._patience.first_pause_s * 2.0 ** (failures - 1)))

    async def _try(self, partial: Partial, known: Validator, tell: Tell) -> bool:
        uri, policy = await self._target()
        resumable = partial.received > 0 and bool(partial.validator.header)
        headers: dict[str, str] = {}
        if resumable:
            headers = {"Range": f"bytes={partial.received}-", "If-Range": partial.validator.header}
        elif known.etag:
            headers = {"If-None-Match": known.etag}
        async with self._exchange.get(uri, headers, policy) as answer:
            had = partial.received if resumable else 0
            said = meaning(answer, had, partial.validator, self._max_bytes, answer.uri.host)
            match said.kind:
                case "unchanged" if "If-None-Match" in headers:
                    return False
                case "unchanged":
                    raise SourceError("BadAnswer", f"{answer.uri.host} answers 304 to who has nothing")
                case "begin-anew":
                    await partial.begin(Validator(), None)
                    raise SourceError("Cut", f"{answer.uri.host} can't go on where it was", is_passing=True)
                case "begin":
                    await partial.begin(said.validator, said.total)
            await self._receive(answer, partial, tell)
        self._check_whole(partial, uri.host)
        return True

    async def _receive(self, answer: Answer, partial: Partial, tell: Tell) -> None:
        tell(Fetching(partial.received, partial.total))
        async for piece in answer.pieces(self._patience):
            check_size(partial.received + len(piece), self._max_bytes)
            await partial.append(piece)
            tell(Fetching(partial.received, partial.total))

    def _check_whole(self, partial: Partial, host: str) -> None:
        if partial.total is not None and partial.received < partial.total:
            text = f"{host} broke off after {partial.received} of {partial.total} bytes"
            raise SourceError("Cut", text, is_passing=True)
        if partial.received == 0:
            raise SourceError("Empty", f"what {host} has is empty (0 bytes)")

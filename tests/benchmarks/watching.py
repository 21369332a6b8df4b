"""How many events a second reach a hundred watchers, beside a bare Starlette stream of the same bytes."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from litefleet_controller.store.interface import Query
from tests.benchmarks.listing import device
from tests.benchmarks.serving import DEVICES, Api, child, served, served_api
from tests.figures import Figure, Run

WATCHERS = 100
CHANGES = 1_000
_SAMPLE = 50
_BATCH = 50
_CLIENT = """
import selectors, socket, sys
port, path, token, watchers, lines = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
selector = selectors.DefaultSelector()
left = {}
for _ in range(watchers):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode())
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += s.recv(65536)
    assert b" 200 " in head, head
    s.setblocking(False)
    selector.register(s, selectors.EVENT_READ)
    left[s] = lines
print("ready", flush=True)
while left:
    for key, _ in selector.select():
        s = key.fileobj
        if s in left:
            data = s.recv(1 << 20)
            assert data, "the stream ended early"
            left[s] -= data.count(b"}\\n")
            if left[s] <= 0:
                del left[s]
print("done", flush=True)
"""


def watching(run: Run) -> Sequence[Figure]:
    """Events times watchers, by the wall clock, from the first write until the last watcher has the last event."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), _SAMPLE if run.sample else CHANGES))


async def _measure(folder: Path, changes: int) -> Sequence[Figure]:
    async with served_api(folder) as api:
        path = f"{DEVICES}?watch=true&resourceVersion={await api.objects.resource_version()}"
        seconds, cpu = await _timed(api.port, path, api.token, changes, lambda: _write(api, changes))
        (first,) = (await api.objects.list(Query("Device", "default", limit=1))).records
    floor, floor_cpu = await _bare(b'{"type":"ADDED","object":%s}\n' % first.body, changes)
    delivered = WATCHERS * changes
    note = (
        f"{changes} changes, {_BATCH} in a transaction, to {WATCHERS} watchers, the writes and their fsyncs included; server CPU "
        f"{cpu / delivered * 1e6:.1f} us an event, bare Starlette stream {floor_cpu / delivered * 1e6:.1f} us"
    )
    sides = {"api": delivered / seconds, "bare": delivered / floor}
    return [Figure("watch-fanout", delivered / seconds, "events/s", 20_000, ">=", sides, note=note)]


async def _timed(
    port: int, path: str, token: str, changes: int, start: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Seconds by the wall clock and of this process's CPU."""
    client = await child(_CLIENT, port, path, token, WATCHERS, changes)
    assert client.stdout is not None
    assert await client.stdout.readline() == b"ready\n"
    began, cpu = time.perf_counter(), time.process_time()
    await start()
    assert await client.stdout.readline() == b"done\n"
    took = time.perf_counter() - began, time.process_time() - cpu
    await client.wait()
    return took


async def _write(api: Api, changes: int) -> None:
    for first in range(0, changes, _BATCH):
        async with api.objects.transaction() as writes:
            for number in range(first, first + _BATCH):
                await writes.insert(device(number))


async def _bare(line: bytes, changes: int) -> tuple[float, float]:
    go = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b""
        await go.wait()
        for _ in range(changes):
            yield line

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/json")

    async def start() -> None:
        go.set()

    async with served(Starlette(routes=[Route("/stream", stream)])) as port:
        return await _timed(port, "/stream", "-", changes, start)

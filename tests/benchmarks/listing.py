"""What a list of 10,000 devices costs the server: over HTTP, beside a bare response of the same bytes."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.serving import DEVICES, child, served, served_api
from tests.figures import Figure, Run

COUNT = 10_000
_TIMES = 7
_CLIENT = """
import http.client, sys
port, path, token = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = http.client.HTTPConnection("127.0.0.1", port)
for line in sys.stdin.buffer:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:300]
    print(len(body), flush=True)
"""


def listing(run: Run) -> Sequence[Figure]:
    """CPU milliseconds of the server's process for one request, best of seven after one that warms up."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), 500 if run.sample else COUNT))


async def _measure(folder: Path, count: int) -> Sequence[Figure]:
    async with served_api(folder) as api:
        async with api.objects.transaction() as writes:
            for number in range(count):
                await writes.insert(device(number))
        cost, size = await _cost(api.port, DEVICES, api.token)

    body = b"x" * size

    async def bare(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    async with served(Starlette(routes=[Route(DEVICES, bare)])) as port:
        floor, _ = await _cost(port, DEVICES, "-")
    note = f"{size // 1024} KiB of JSON over HTTP; sides: with the API, and a bare Starlette response of as many bytes"
    return [Figure("list-10k-devices", cost, "ms CPU", 50.0, "<", {"api": cost, "bare": floor}, note=note)]


async def _cost(port: int, path: str, token: str) -> tuple[float, int]:
    client = await child(_CLIENT, port, path, token)
    assert client.stdin is not None
    assert client.stdout is not None
    times, size = [], 0
    for _ in range(_TIMES + 1):
        began = time.process_time()
        client.stdin.write(b"\n")
        size = int(await client.stdout.readline())
        times.append((time.process_time() - began) * 1000)
    client.stdin.close()
    await client.wait()
    return min(times[1:]), size


def device(number: int) -> dict[str, object]:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {
            "name": f"board-{number:05}", "namespace": "default", "uid": f"d-{number}", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"site": f"line-{number % 40}"},
        },
        "spec": {"class": "raspberry-pi-4"},
        "status": {"connection": "Online", "slots": [{"slot": "digits", "phase": "Updated", "currentVersion": "digits-v1"}]},
    }  # fmt: skip

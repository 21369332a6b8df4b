"""A Model whose file comes from a web server, by the real controller: progress for kubectl, and a kill in the middle."""

import asyncio
import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.sources.partial import SYNC_BYTES
from tests.controller.sources.site import Asked, Site, Write, head, running
from tests.flow.test_up import Running, up

pytestmark = pytest.mark.timeout(120)

CONTENT = random.Random(3).randbytes(SYNC_BYTES + 1_000_000)
TAG = '"one"'


@contextmanager
def serving(site: Site) -> Iterator[int]:
    """The site on a thread of its own; its port."""
    loop, ready, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with running(site):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield site.port
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()


def model(port: int) -> str:
    uri = f"http://127.0.0.1:{port}/m.keras"
    spec = {"source": {"uri": uri}, "evaluation": {"uri": uri}}
    body = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "Model", "metadata": {"name": "digits"}, "spec": spec}
    return json.dumps(body)


def wait(controller: Running, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        shown = controller.kubectl("get", "model", "digits", "-o", "json")
        body: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
        if condition(body.get("status") or {}):
            return body
        assert time.monotonic() < deadline, shown.stdout + shown.stderr
        time.sleep(0.2)


def test_a_killed_controller_goes_on_with_what_it_was_fetching(tmp_path: Path) -> None:
    async def most_of_it(asked: Asked, write: Write) -> bool:
        if asked.start is not None:
            return False
        await write(head(200, {"ETag": TAG, "Content-Length": str(len(CONTENT))}))
        await write(CONTENT[:-1])
        await asyncio.sleep(20)
        return True

    site = Site(CONTENT, etag=TAG, behave=most_of_it)
    with serving(site) as port:
        (tmp_path / "model.json").write_text(model(port))
        options = ("--source-host", f"127.0.0.1:{port}")
        with up(tmp_path / "data", *options) as controller:
            assert controller.kubectl("apply", "-f", str(tmp_path / "model.json")).returncode == 0
            body = wait(controller, lambda s: any(f["receivedBytes"] == len(CONTENT) - 1 for f in s.get("files") or ()))
            first = int(body["metadata"]["resourceVersion"])
            (condition,) = body["status"]["conditions"]
            assert (condition["status"], condition["reason"]) == ("False", "Fetching")
            assert "(99%)" in condition["message"]
            time.sleep(2)
            # What doesn't get on is not written again and again.
            body = json.loads(controller.kubectl("get", "model", "digits", "-o", "json").stdout)
            assert int(body["metadata"]["resourceVersion"]) <= first + 1
            controller.process.kill()
        with up(tmp_path / "data", *options) as controller:
            body = wait(controller, lambda s: s.get("latestVersion"))
            digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
            assert [f["digest"] for f in body["status"]["files"]] == [digest, digest]
            shown = controller.kubectl("get", "models").stdout.splitlines()[1].split()
            assert shown[:5] == ["digits", "keras", "digits-v1", "True", "VersionMade"]
            assert controller.end() < 5
    # Two fields, one URI, one fetch: and what the first controller had made certain was not asked for again. That is up
    # to the end of the piece with which it had enough for a sync.
    first_asked, again = (a.start for a in site.asked)
    assert first_asked is None
    assert SYNC_BYTES <= (again or 0) < len(CONTENT)

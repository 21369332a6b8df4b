"""litefleet logs: through the real API."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from litefleet_controller.cli import main
from litefleet_controller.cli.client import Client
from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.kubeconfig import load
from litefleet_controller.cli.logs import line
from litefleet_controller.identity.roles import Role
from litefleet_controller.store.interface import Key
from litefleet_controller.telemetry.boardlog.rows import insert, row_of
from litefleet_protocol.messages import LogEntry
from tests.controller.cli.conftest import Shell

NOW = datetime.now(UTC)


def device(shell: Shell, name: str) -> str:
    """A Device of the shell's namespace; names are unique in the fleet."""
    unique = f"{name}-{shell.namespace}"[:63]
    body = {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {"name": unique, "namespace": shell.namespace},
        "spec": {"class": "rpi-4"},
    }
    shell.controller.run(shell.controller.objects.create(body))
    return unique


def said(shell: Shell, name: str, *events: str, ago_s: float = 0.0, **changes: Any) -> None:
    """Entries as if the board had sent them."""

    async def store() -> None:
        at = datetime.now(UTC).timestamp() - ago_s
        async with shell.controller.database.writing() as session:
            rows = [
                row_of(
                    LogEntry(**({
                        "boot_id": "boot", "sequence": time.monotonic_ns(), "at": at, "monotonic": 1.0,
                        "level": "info", "event": event, "fields": {"slot": "digits"},
                    } | changes)),
                    device=name, namespace=shell.namespace, received_at=datetime.now(UTC),
                )
                for event in events
            ]  # fmt: skip
            await insert(await session.connection(), rows)

    shell.controller.run(store())


def events(out: str) -> list[str]:
    return [text.split()[2] for text in out.splitlines()]


def test_a_line_has_time_level_event_and_fields(shell: Shell) -> None:
    name = device(shell, "pi")
    said(shell, name, "swapped")
    (text,) = shell.ok("logs", name).splitlines()
    at, level, rest = text.split(maxsplit=2)
    assert abs((datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds()) < 60
    assert (level, rest) == ("INFO", "swapped slot=digits")


def test_a_wrong_clock_is_marked_and_replaced_by_the_arrival(shell: Shell) -> None:
    name = device(shell, "pi")
    said(shell, name, "started", at=100.0, clock_trusted=False)
    text = shell.ok("logs", name)
    assert text.startswith("~")
    assert abs((datetime.fromisoformat(text[1:].split()[0]) - datetime.now(UTC)).total_seconds()) < 60


def test_tail_since_and_json(shell: Shell) -> None:
    name = device(shell, "pi")
    said(shell, name, "old", ago_s=3_600)
    said(shell, name, "one", "two", "three")
    assert events(shell.ok("logs", name)) == ["old", "one", "two", "three"]
    assert events(shell.ok("logs", name, "--tail", 2)) == ["two", "three"]
    assert events(shell.ok("logs", name, "--since", "10m")) == ["one", "two", "three"]
    entries = [json.loads(text) for text in shell.ok("logs", f"device/{name}", "--json").splitlines()]
    assert [e["event"] for e in entries] == ["old", "one", "two", "three"]
    assert entries[0]["fields"] == {"slot": "digits"}
    assert shell.ok("logs", name, "--tail", 0) == ""


def test_a_board_that_said_nothing_is_no_error(shell: Shell) -> None:
    result = shell("logs", device(shell, "pi"))
    assert (result.code, result.out) == (0, "")
    assert "no log of" in result.err


def test_what_is_not_there_is_said(shell: Shell) -> None:
    assert "(NotFound)" in shell.refused("logs", "nobody")


@pytest.mark.parametrize("arguments", [("pod/x",), ("x", "--tail", "-2"), ("x", "--since", "soon")])
def test_wrong_usage_is_said(shell: Shell, arguments: tuple[str, ...]) -> None:
    result = shell("logs", *arguments)
    assert (result.code, result.err.count("\n")) in ((1, 1), (2, 1))


def test_escapes_in_a_boards_words_do_not_reach_the_terminal() -> None:
    entry = {"at": "t", "clockTrusted": True, "level": "info", "event": "\x1b[2J", "fields": {"m": "\x9b31m\n"}}
    assert line(entry).isprintable()


def test_another_namespaces_board_is_none_of_ones_business(shell: Shell) -> None:
    name = device(shell, "pi")
    controller = shell.controller
    token = controller.run(controller.tokens.create("eve", Role.VIEWER, "default", None, NOW))
    answer = httpx.get(
        f"{controller.url}/fleet/v1/namespaces/{shell.namespace}/devices/{name}/log",
        headers={"Authorization": f"Bearer {token}"},
        verify=load(shell.kubeconfig, None).tls(),
    )
    assert answer.status_code in (403, 404)


@pytest.mark.parametrize(
    "query", ["tail=-1", "tail=x", "since=yesterday", "after=-1", "follow=perhaps", "tail=99999999"]
)
def test_a_parameter_that_cannot_be_understood_is_refused(shell: Shell, query: str) -> None:
    name = device(shell, "pi")
    with Client(load(shell.kubeconfig, None)) as client, pytest.raises(CliError) as e:
        client.get(f"/fleet/v1/namespaces/{shell.namespace}/devices/{name}/log?{query}")
    assert e.value.http_status in (400, 422)


class Following:
    """`litefleet logs -f` in a thread; its output as it comes."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self.out = io.StringIO()
        self.code: object = None
        command = ["logs", *arguments, "-f", "--kubeconfig", str(shell.kubeconfig)]

        def run() -> None:
            try:
                main(command)
            except SystemExit as e:
                self.code = e.code

        self.thread = threading.Thread(target=run)
        self._redirected = (redirect_stdout(self.out), redirect_stderr(io.StringIO()))
        for redirect in self._redirected:
            redirect.__enter__()
        self.thread.start()

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, self.out.getvalue()
            time.sleep(0.01)

    def events(self) -> list[str]:
        return events(self.out.getvalue())

    def close(self) -> None:
        self.thread.join(20)
        for redirect in self._redirected:
            redirect.__exit__(None, None, None)
        assert not self.thread.is_alive()


def gone(shell: Shell, name: str) -> None:
    shell.controller.run(shell.controller.objects.delete(Key("Device", shell.namespace, name)))


def test_following_goes_on_from_the_end_until_the_board_is_gone(shell: Shell) -> None:
    name = device(shell, "pi")
    said(shell, name, "one", "two")
    following = Following(shell, name, "--tail", "1")
    following.until(lambda: following.events() == ["two"])
    said(shell, name, "three")
    following.until(lambda: following.events() == ["two", "three"])
    gone(shell, name)
    following.close()
    assert following.code == 1


def test_following_goes_on_where_it_was_after_the_controller_restarts(shell: Shell) -> None:
    name = device(shell, "pi")
    said(shell, name, "one")
    following = Following(shell, name)
    following.until(lambda: following.events() == ["one"])
    shell.controller.close_door()
    said(shell, name, "two")
    shell.controller.open_door()
    following.until(lambda: following.events() == ["one", "two"])
    gone(shell, name)
    following.close()


def test_a_revoked_token_ends_a_stream(shell: Shell) -> None:
    """The same end as a watch's; see api/streaming."""
    from litefleet_controller.api.streaming import LinesResponse

    sent: list[dict[str, Any]] = []
    silent = asyncio.Event

    async def scenario() -> None:
        revoked = asyncio.Event()
        forever = silent()

        async def lines() -> Any:
            yield b"one\n"
            await forever.wait()

        async def receive() -> dict[str, Any]:
            await forever.wait()
            return {}

        async def send(part: Any) -> None:
            sent.append(part)
            if part.get("body") == b"one\n":
                revoked.set()

        await asyncio.wait_for(LinesResponse(lines(), [revoked.wait])({}, receive, send), 10)

    asyncio.run(scenario())
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

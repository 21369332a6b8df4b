"""Many boards in one process that do nothing but fetch: the agent's own link and fetcher, with mutual TLS.

Started by the benchmark `delivering` as `python -m tests.fetching_boards JSON`, so it stands outside of that package, which takes
seconds to import. One line on stdin names an artifact, one line on stdout says what each board received for it.
"""

import json
import queue
import random
import socket
import ssl
import struct
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litefleet_agent import events as ev
from litefleet_agent.fetch import Fetcher
from litefleet_agent.fileio import Disk
from litefleet_agent.identity import Identity
from litefleet_agent.interface import Incoming
from litefleet_agent.link import Address, MqttLink, tls_context
from litefleet_agent.slots import Slots
from litefleet_protocol import topics

NAMESPACE = "default"
_TICK_S = 0.1
_BYTES_RECEIVED = struct.Struct("=128xQ")
"""tcpi_bytes_received in struct tcp_info of linux/tcp.h."""


class CountedSocket(ssl.SSLSocket):
    """Counts what comes out of TLS."""

    received = 0

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data = super().recv(buflen, flags)
        self.received += len(data)
        return data


class Unsynced(Disk):
    """A disk that isn't waited for: what boards do in parallel would queue up on this machine's one."""

    def sync(self, path: Path) -> None:
        pass


@dataclass(slots=True)
class Diary:
    """What happened to one board, in order: the number of a chunk that arrived, None when the connection went."""

    entries: list[int | None] = field(default_factory=list)
    needs: int = 0

    def twice(self) -> list[int]:
        """Chunks that arrived although they had been there already, for each stretch between two cuts."""
        seen: set[int] = set()
        counts = [0]
        for entry in self.entries:
            if entry is None:
                counts.append(0)
            else:
                counts[-1] += entry in seen
                seen.add(entry)
        return counts


class Board:
    """A link and a fetcher. What comes in goes to `mail`, which the process's one loop reads."""

    def __init__(self, name: str, folder: Path, port: int, mail: "queue.SimpleQueue[tuple[Board, Any]]") -> None:
        self.diary = Diary()
        self.done = False
        self.failed = ""
        self._socket: socket.socket | None = None
        identity = _identity(name, folder, port)
        self._link = MqttLink(
            Address("127.0.0.1", port, name, first_pause_s=0.5, longest_pause_s=4.0),
            lambda: _counted(tls_context(identity, check_time=True)),
            deliver=lambda item: mail.put((self, item)),
            random=random.random,
            new_id=lambda: uuid.uuid4().hex,
        )
        self._slots = Slots(Unsynced(), folder / name / "state")
        self._fetcher = Fetcher(
            self._slots, self, device=name, namespace=NAMESPACE, emit=self._heard, random=random.random
        )
        self.start()

    # --- the fetcher's port: the agent's link, with what asks for missing chunks counted ---

    @property
    def connected(self) -> bool:
        return self._link.connected

    def start(self) -> None:
        self._link.start()

    def stop(self) -> None:
        self._link.stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        self.diary.needs += 1
        return self._link.publish(topic, payload, retain=retain)

    def subscribe(self, topic: str) -> None:
        self._link.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        self._link.unsubscribe(topic)

    # --- driven by the loop ---

    def fetch(self, digest: str) -> None:
        self._slots.collect(frozenset())
        self.diary, self.done, self.failed = Diary(), False, ""
        self._fetcher.start("digits", 1, digest, time.monotonic())

    def take(self, item: Incoming | ev.Connected | ev.Disconnected) -> None:
        if isinstance(item, ev.Disconnected):
            self.diary.entries.append(None)
        if isinstance(item, Incoming):
            topic = topics.parse(item.topic)
            if isinstance(topic, topics.ChunkTopic):
                self.diary.entries.append(topic.index)
            if isinstance(topic, topics.ManifestTopic | topics.ChunkTopic):
                self._fetcher.message(topic, item.payload, time.monotonic())

    def tick(self) -> None:
        self._fetcher.tick(time.monotonic())

    def received_bytes(self) -> tuple[int, int]:
        """What came in on this connection: MQTT, and on the wire as the kernel counts it, with TLS. (0, 0) without one."""
        client = self._link._client
        connected = client.socket() if client else None
        if not isinstance(connected, CountedSocket):
            return 0, 0
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return connected.received, int(_BYTES_RECEIVED.unpack_from(info)[0])

    def _heard(self, event: object) -> None:
        self.done = self.done or isinstance(event, ev.Fetched)
        if isinstance(event, ev.StepFailed):
            self.failed = event.message


class Boards:
    """The loop that drives them."""

    def __init__(self, names: list[str], folder: Path, port: int) -> None:
        self._mail: queue.SimpleQueue[tuple[Board, Any]] = queue.SimpleQueue()
        self.boards = [Board(name, folder, port, self._mail) for name in names]

    def until(self, condition: Callable[[Board], bool], timeout_s: float) -> None:
        """Serve until all boards meet a condition."""
        end, next_tick = time.monotonic() + timeout_s, 0.0
        while not all(map(condition, self.boards)):
            now = time.monotonic()
            if now > end:
                raise TimeoutError(
                    f"{sum(not condition(b) for b in self.boards)} boards are not there in {timeout_s} s"
                )
            if now >= next_tick:
                next_tick = now + _TICK_S
                for board in self.boards:
                    board.tick()
            try:
                board, item = self._mail.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            board.take(item)

    def fetch(self, digest: str, timeout_s: float = 240.0) -> list[dict[str, Any]]:
        """Bring an artifact to all of them."""
        before = [b.received_bytes() for b in self.boards]
        for board in self.boards:
            board.fetch(digest)
        self.until(lambda b: b.done or bool(b.failed), timeout_s)
        return [_received(board, was) for board, was in zip(self.boards, before, strict=True)]

    def stop(self) -> None:
        for board in self.boards:
            board.stop()


def _received(board: Board, before: tuple[int, int]) -> dict[str, Any]:
    mqtt, wire = board.received_bytes()
    return {
        "mqttBytes": mqtt - before[0],
        "wireBytes": wire - before[1],
        "connectBytes": before[1],
        "twice": board.diary.twice(),
        "needs": board.diary.needs,
        "failed": board.failed,
    }


def _counted(context: ssl.SSLContext) -> ssl.SSLContext:
    context.sslsocket_class = CountedSocket
    return context


def _identity(name: str, folder: Path, port: int) -> Identity:
    files = {kind: folder / name / f"{kind}.pem" for kind in ("certificate", "key", "ca")}
    return Identity(
        "", NAMESPACE, name, "c", "127.0.0.1", port, (), files["certificate"], files["key"], files["ca"]
    )  # fmt: skip


def main() -> None:
    """The program."""
    job = json.loads(sys.argv[1])
    boards = Boards(job["names"], Path(job["folder"]), job["port"])
    boards.until(lambda b: b.connected and b.received_bytes()[1] > 0, 60.0)
    _say("ready")
    for line in sys.stdin:
        _say(boards.fetch(line.strip()))
    boards.stop()


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

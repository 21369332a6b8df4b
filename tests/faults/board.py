"""A board in this process: the real agent with its real child processes, over a link that is a dictionary, under load.

What stands in is the broker alone (`InMemory`); signatures, disk, checks, builds, flips and probation are the board's
own. Every answer is kept until somebody has looked at it.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_agent import events as ev
from litefleet_agent import identity
from litefleet_agent.compose import compose
from litefleet_agent.config import Config
from litefleet_agent.embed import Agent
from litefleet_agent.errors import AgentError
from litefleet_agent.fileio import Disk
from litefleet_agent.interface import Incoming
from litefleet_agent.state import Pointers
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.enrollment import EnrollResponse
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import Desired, Reported, SlotDesired, SlotReported
from tests.agent.artifacts import Key, Made

SLOT = "digits"
_DEVICE = "pi-1"
_FLEET, _NAMESPACE, _CLASS = "fleet1", "default", "rpi-4"


class InMemory:
    """Implements `Link`: retained messages in a dictionary, and the board's last report."""

    def __init__(self, deliver: Callable[[Incoming | ev.Connected | ev.Disconnected], None]) -> None:
        self.retained: dict[str, bytes] = {}
        self.report: Reported | None = None
        self.phases: set[tuple[int, str]] = set()
        """That were reported, with the counter that they are about."""
        self.changed = threading.Condition()
        self._deliver = deliver

    @property
    def connected(self) -> bool:
        return True

    def start(self) -> None:
        self._deliver(ev.Connected())

    def stop(self) -> None:
        pass

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        if topic.endswith("/up/reported"):
            with self.changed:
                self.report = codec.decode(Reported, payload)
                self.phases |= {(self.report.counter, slot.phase) for slot in self.report.slots.values()}
                self.changed.notify_all()
        return True

    def subscribe(self, topic: str) -> None:
        if topic in self.retained:
            self._deliver(Incoming(topic, self.retained[topic]))

    def unsubscribe(self, topic: str) -> None:
        pass

    def send(self, topic: str, payload: bytes) -> None:
        """As if the broker had passed it on."""
        self._deliver(Incoming(topic, payload))


@dataclass(frozen=True, slots=True)
class Served:
    """What came of one inference; `outputs` is None for a failure, whose code is then in `version`."""

    at: float
    number: int
    """Of the live input."""
    version: str
    outputs: np.ndarray | None


class Load:
    """Threads that infer all the time, each at `rate_hz` or as fast as the model answers (0)."""

    def __init__(self, board: "Board", live: np.ndarray, rate_hz: float, threads: int = 1) -> None:
        self._slot = board.agent.slot(SLOT)
        self._live = live
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._lock = threading.Lock()
        self._served: list[Served] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        for _ in range(threads):
            self.more()

    def more(self) -> None:
        """Another thread; an inference that hangs keeps its own for ever."""
        thread = threading.Thread(target=self._run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def take(self) -> list[Served]:
        """What was served since the last time."""
        with self._lock:
            taken, self._served = self._served, []
        return taken

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(3)

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number = (number + 1) % len(self._live)
            try:
                answer = self._slot.infer(self._live[number])
                served = Served(time.monotonic(), number, answer.version, answer.outputs[0].copy())
            except AgentError as e:
                served = Served(time.monotonic(), number, str(e.code), None)
            with self._lock:
                self._served.append(served)
            if self._period_s:
                self._ended.wait(self._period_s)


class Board:
    """An enrolled board whose agent runs in this process; one that was killed can be started again where it was."""

    def __init__(self, state_dir: Path, config: Config) -> None:
        self.key = Key(hashlib.sha256(str(state_dir).encode()).digest())
        self._counter = Pointers(Disk(), state_dir).load().counter
        self._enroll(state_dir)
        links: list[InMemory] = []

        def link(_who: identity.Identity, deliver: Callable[..., None]) -> InMemory:
            links.append(InMemory(deliver))
            return links[0]

        self.agent = Agent(compose(state_dir, config, link))
        self.link = links[0]

    def _enroll(self, state_dir: Path) -> None:
        staging = identity.staging_directory(state_dir)
        staging.mkdir(parents=True, exist_ok=True)
        (staging / "key.pem").write_text("no broker, no key")
        answer = EnrollResponse(
            fleet=_FLEET,
            namespace=_NAMESPACE,
            device=_DEVICE,
            device_class=_CLASS,
            certificate="",
            ca="",
            broker_host="-",
            broker_port=1,
            signing_keys=(self.key.pinned,),
        )
        identity.save(Disk(), state_dir, answer)

    def assign(self, made: Made, **options: object) -> float:
        """Publish an artifact and the desired state that names it; when (monotonic seconds)."""
        self.link.retained = {topics.manifest(_NAMESPACE, made.digest): made.envelope} | {
            topics.chunk(_NAMESPACE, made.digest, n): chunk for n, chunk in enumerate(made.chunks)
        }
        self._counter += 1
        slot = SlotDesired(artifact=made.digest, version=made.manifest.version, **options)
        desired = Desired(
            fleet=_FLEET,
            namespace=_NAMESPACE,
            device=_DEVICE,
            device_class=_CLASS,
            epoch=1,
            counter=self._counter,
            slots={SLOT: slot},
        )
        sealed = envelope.seal(PayloadType.DESIRED, codec.encode(desired), [self.key])
        at = time.monotonic()
        self.link.send(topics.down(_DEVICE, topics.Down.DESIRED), sealed)
        return at

    def has_tried(self) -> bool:
        """Whether the last assignment came to serve on trial."""
        return (self._counter, "Verifying") in self.link.phases

    def wait(self, settled: Callable[[SlotReported], bool], timeout_s: float) -> SlotReported | None:
        """The first report about the last assignment that is `settled`; None when there is none in time."""

        def found() -> SlotReported | None:
            report = self.link.report
            if report is None or report.counter != self._counter or SLOT not in report.slots:
                return None
            slot = report.slots[SLOT]
            return slot if settled(slot) else None

        with self.link.changed:
            return self.link.changed.wait_for(found, timeout_s)

    def close(self) -> None:
        self.agent.close()

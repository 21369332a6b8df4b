"""A slot's pipeline: one thread that takes inputs, has them answered by the hot slot, and writes the answers.

It waits for the first model before it reads its source, and again when the slot was emptied, so no input is lost to a
slot that serves nothing. When an inference hangs, the thread is given up and a new one takes the same input again.
"""

import logging
import threading
from collections.abc import Callable, Iterator

from litefleet_agent.errors import AgentError, one_line
from litefleet_agent.pipeline.sink import Answered, Sink, Unanswered, answered
from litefleet_agent.pipeline.source import Input, InputError, Source
from litefleet_agent.swap import HotSlot, NoModelError

log = logging.getLogger(__name__)
_IDLE_S = 0.5


class Pipeline:
    """Runs from `start` until it is asked to stop."""

    def __init__(
        self,
        hot: HotSlot,
        source: Source,
        sink: Sink,
        *,
        rate_hz: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
        input_failed: Callable[[], None],
    ) -> None:
        self._hot = hot
        self._inputs: Iterator[Input | None] = iter(source)
        self._sink = sink
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._clock = clock
        self._wall = wall
        self._input_failed = input_failed
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._run_number = 0
        self._thread: threading.Thread | None = None
        self._pending: Input | None = None
        self._seq = 0
        self._due = float("-inf")

    def start(self) -> None:
        """Begin, or give up a thread that hangs and go on with the input that it holds."""
        with self._turn:
            self._run_number += 1
            name = f"pipeline-{self._hot.name}"
            self._thread = threading.Thread(target=self._run, args=(self._run_number,), name=name, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """End after the inference that is under way."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False when it doesn't come."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, number: int) -> None:
        try:
            while not self._stop.is_set() and number == self._run_number:
                if not self._step(number):
                    return
        except Exception:  # the thread's edge
            log.exception("pipeline ended: slot=%s", self._hot.name)

    def _step(self, number: int) -> bool:
        """Bring one input to its answer; False when the source has ended."""
        if not self._hot.wait_ready(_IDLE_S):
            return True
        if self._pending is None:
            try:
                self._pending = next(self._inputs)
            except StopIteration:
                return False
            if self._pending is None:
                self._stop.wait(_IDLE_S)
                return True
            self._pace()
        line = self._answer(self._pending)
        with self._turn:
            if line is not None and number == self._run_number:
                self._write(line)
                self._seq += 1
                self._pending = None
        return True

    def _answer(self, given: Input) -> Answered | Unanswered | None:
        try:
            answer = self._hot.infer(given.load())
        except NoModelError:
            return None  # emptied a moment ago: the input waits for the next model
        except InputError as e:
            self._input_failed()
            return Unanswered(self._seq, given.name, one_line(e))
        except AgentError as e:
            return Unanswered(self._seq, given.name, one_line(e))
        return answered(self._seq, given.name, answer, self._wall())

    def _write(self, line: Answered | Unanswered) -> None:
        try:
            self._sink.write(line)
        except OSError as e:
            log.warning("answer not written: slot=%s seq=%d %s", self._hot.name, line.seq, e)

    def _pace(self) -> None:
        """Hold the rate; a pipeline that fell behind goes on from now instead of catching up in a burst."""
        now = self._clock()
        turn = max(self._due, now)
        self._stop.wait(turn - now)
        self._due = turn + self._period_s

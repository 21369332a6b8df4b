"""A slot's pipeline: one thread that takes inputs, has them answered by the hot slot, and writes the answers.

It waits for the first model before it reads its source, and again when the slot was emptied, so no input is lost to a
slot that serves nothing. When an inference hangs, the thread is given up and a new one takes the same input again; an
input on which a second inference hangs is given up too, or it would hang one model after the other for ever. Nothing
that an input, a model or a full disk does ends the thread. A source's rate that can't be held is said in telemetry.
"""

import threading
from collections.abc import Callable, Iterator

from msgspec import Struct

from litefleet_agent.errors import AgentError, one_line
from litefleet_agent.logs import EventLog
from litefleet_agent.pipeline.sink import Answered, Sink, Unanswered
from litefleet_agent.pipeline.source import Input, InputError, Source
from litefleet_agent.swap import HotSlot, NoModelError
from litefleet_protocol.codes import Code

log = EventLog(__name__)
_IDLE_S = 0.5
_HANGS_AN_INPUT = 2
"""Hung inferences after which an input is given up: one may be the model's fault."""
_LOG_EVERY = 1000
"""Of answers in a row that could not be written: a full disk is not made better by what is said about it."""


class Tally(Struct, frozen=True):
    """Told of inputs that no inference hears of."""

    input_failed: Callable[[], None]
    missed: Callable[[int], None]
    """So many inputs were due by the source's rate and not taken."""


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
        tally: Tally,
    ) -> None:
        self._hot = hot
        self._inputs: Iterator[Input | None] = iter(source)
        self._sink = sink
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._clock = clock
        self._wall = wall
        self._tally = tally
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._run_number = 0
        self._thread: threading.Thread | None = None
        self._pending: Input | None = None
        self._hangs = 0
        """Inferences that hung on the pending input."""
        self._seq = 0
        self._due: float | None = None
        self._unwritten = 0

    def start(self) -> None:
        """Begin, or give up a thread that hangs and go on with the input that it holds."""
        with self._turn:
            self._run_number += 1
            if self._pending is not None:
                self._hangs += 1
                if self._hangs >= _HANGS_AN_INPUT:
                    self._done(Unanswered(self._seq, self._pending.name, _GIVEN_UP))
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
        if self._thread.is_alive():
            return False
        self._sink.close()
        return True

    def _run(self, number: int) -> None:
        while not self._stop.is_set() and number == self._run_number:
            try:
                if not self._step(number):
                    return
            except Exception:  # the thread's edge: whatever it was, the next step is made
                log.exception("pipeline_step_failed", slot=self._hot.name)
                self._stop.wait(_IDLE_S)

    def _step(self, number: int) -> bool:
        """Bring one input to its answer; False when the source has ended."""
        if self._hot.live is None and not self._hot.wait_ready(_IDLE_S):
            self._due = None
            return True
        if self._pending is None:
            try:
                self._pending = next(self._inputs)
            except StopIteration:
                return False
            if self._pending is None:
                self._due = None
                self._stop.wait(_IDLE_S)
                return True
            self._pace()
        line = self._answer(self._pending)
        with self._turn:
            if line is not None and number == self._run_number:
                self._done(line)
        return True

    def _done(self, line: Answered | Unanswered) -> None:
        """The pending input has its line. Under `_turn`."""
        self._write(line)
        self._seq += 1
        self._hangs = 0
        self._pending = None

    def _answer(self, given: Input) -> Answered | Unanswered | None:
        try:
            answer = self._hot.infer(given.load())
        except NoModelError:
            return None  # emptied a moment ago: the input waits for the next model
        except InputError as e:
            self._tally.input_failed()
            return Unanswered(self._seq, given.name, one_line(e))
        except AgentError as e:
            return Unanswered(self._seq, given.name, one_line(e))
        except Exception as e:  # the engine's edge: an input that breaks something must not come up again for ever
            log.exception("inference_broke", slot=self._hot.name, input=given.name)
            self._tally.input_failed()
            return Unanswered(self._seq, given.name, f"{Code.INTERNAL}: {type(e).__name__}")
        return Answered(self._seq, given.name, answer, self._wall())

    def _write(self, line: Answered | Unanswered) -> None:
        try:
            self._sink.write(line)
        except OSError as e:
            if self._unwritten % _LOG_EVERY == 0:
                log.warning("answers_not_written", slot=self._hot.name, seq=line.seq, error=e)
            self._unwritten += 1
            return
        if self._unwritten:
            log.warning("answers_written_again", slot=self._hot.name, lost=self._unwritten)
            self._unwritten = 0

    def _pace(self) -> None:
        """Hold the rate; a pipeline that fell behind goes on from now, and what it missed is counted, not made up."""
        if not self._period_s:
            return
        now = self._clock()
        due = now if self._due is None else self._due
        if due > now:
            self._stop.wait(due - now)
        elif missed := int((now - due) / self._period_s):
            self._tally.missed(missed)
            due += missed * self._period_s
        self._due = due + self._period_s


_GIVEN_UP = f"{Code.TIMEOUT}: {_HANGS_AN_INPUT} inferences did not come back from this input"

"""The hot slot: one reference that says what answers, flipped between two inferences.

A `Generation` is a loaded model with its pre- and post-processing and its version: they flip together, and each
inference uses exactly one. Building and warming happen elsewhere (`Builder`, on the builder thread); the main loop
flips. What was flipped away is held ready until it is released, so that the way back costs as little as the way there,
and an input that a model on trial can't answer is answered by the one before it.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct
from numpy.typing import NDArray

from litefleet_agent.errors import AgentError
from litefleet_agent.golden import golden_of, warm_up
from litefleet_agent.logs import EventLog
from litefleet_agent.pipeline.postprocess import read
from litefleet_agent.pipeline.preprocess import Preparation
from litefleet_agent.proving import prove
from litefleet_agent.runtime.exclusive import is_exclusive
from litefleet_agent.runtime.interface import LoadedModel, ModelError, Runtime, Tensor
from litefleet_agent.runtime.loading import load_artifact
from litefleet_agent.slots import Slots
from litefleet_agent.verdict import TrialLimits, Verdict
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.runtimes import MODEL_FILES

log = EventLog(__name__)
_LOCK_PATIENCE_S = 0.1
_PAUSE_PATIENCE_S = 0.25
_numbers = itertools.count(1)


class NoModelError(AgentError):
    """Nothing serves in this slot (yet)."""


@dataclass(slots=True, eq=False)
class Generation:
    """One loaded model with everything that belongs to it."""

    artifact: str
    version: str
    manifest: ArtifactManifest
    model: LoadedModel
    prepare: Preparation = field(init=False)
    names: tuple[str, ...] = field(init=False)
    """Of the outputs, as the source has them."""
    number: int = field(default_factory=_numbers.__next__)
    """Distinguishes loads of one artifact: telemetry's windows never span two."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy_since: float | None = None
    abandoned: bool = False
    """It hung: whatever it still answers comes too late."""
    is_on_trial: bool = False
    """It runs in a child process, and is not proven yet."""
    stand_in: "Generation | None" = None
    """For one on trial: what it replaced, which answers what it can't."""

    def __post_init__(self) -> None:
        self.prepare = Preparation(self.manifest.preprocess, self.model.signature.inputs)
        self.names = tuple(output.name for output in self.manifest.signature.outputs)


# Structs, not dataclasses, for what is made with every inference: a frozen dataclass costs four times as much to fill.
class Answer(Struct, frozen=True, eq=False):
    """What an inference gave, and which version gave it. `outputs` are dequantized float32, batch of 1 included."""

    label: str
    confidence: float | None
    outputs: list[Tensor]
    version: str
    artifact: str
    latency_ms: float
    names: tuple[str, ...] = ()
    """Of the outputs."""


class Observation(Struct, frozen=True, gc=False):
    """One answer, for telemetry and probation."""

    generation: int
    artifact: str
    version: str
    latency_ms: float
    """Without the way to a model on trial and back: what it will be once it is proven, and comparable with others'."""
    label: str
    confidence: float | None
    gap_ms: float
    """Since the slot's answer before this one; 0 for the first."""


class Observer(Protocol):
    """Hears of every inference, on the thread that made it."""

    def answered(self, observation: Observation) -> None:
        """An inference gave an answer."""
        ...

    def failed(self, generation: Generation, code: str, message: str) -> None:
        """An inference failed."""
        ...


class HotSlot:
    """Where inferences come in. Any thread may infer; the main loop alone parks, flips, releases and empties."""

    def __init__(self, name: str, clock: Callable[[], float], *, hang_s: float) -> None:
        self.name = name
        self.longest_flip_gap_ms = 0.0
        """Longest time between two answers with a flip between them."""
        self._clock = clock
        self._hang_s = hang_s
        self._live: Generation | None = None
        self._parked: dict[int, Generation] = {}
        self._held: dict[str, Generation] = {}
        self._observers: tuple[Observer, ...] = ()
        self._ready = threading.Event()
        self._pause = threading.Event()
        self._pause_wanted = False
        self._last_answer: tuple[float, int] | None = None
        self._last_lock = threading.Lock()

    @property
    def live(self) -> Generation | None:
        """What answers now."""
        return self._live

    def observe(self, observers: Sequence[Observer]) -> None:
        """Replace who hears of inferences."""
        self._observers = tuple(observers)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until something serves."""
        return self._ready.wait(timeout_s)

    def infer(self, raw: NDArray[Any]) -> Answer:
        """Answer one input: an image (height, width[, channels]) or an array with as many values as the model takes.

        Raises:
            NoModelError: nothing serves.
            ModelError: the input doesn't fit or holds NaN, the model failed, or its output holds NaN.
        """
        generation = self._enter()
        try:
            answer, handover_ms = self._run(generation, raw)
        except ModelError as e:
            failed = e
        else:
            self._tell_answered(generation.number, answer, handover_ms)
            return answer
        finally:
            generation.busy_since = None
            generation.lock.release()
        self._tell_failed(generation, failed)
        return self._answer_instead(generation.stand_in, raw, failed)

    def _answer_instead(self, stand_in: Generation | None, raw: NDArray[Any], failed: ModelError) -> Answer:
        """What a model on trial could not answer is answered by the one before it, unless that can't either."""
        if stand_in is None or not stand_in.lock.acquire(timeout=self._hang_s):
            raise failed
        try:
            answer, handover_ms = self._run(stand_in, raw)
        except ModelError:
            raise failed from None
        finally:
            stand_in.busy_since = None
            stand_in.lock.release()
        self._tell_answered(stand_in.number, answer, handover_ms)
        return answer

    def _enter(self) -> Generation:
        """The live generation, locked. One that hangs keeps its lock: whoever waits goes over to its successor."""
        while True:
            generation = self._live
            if generation is None:
                raise NoModelError(Code.INTERNAL, f"slot {self.name} serves no model yet")
            if generation.lock.acquire(timeout=_LOCK_PATIENCE_S):
                return generation

    def _run(self, generation: Generation, raw: NDArray[Any]) -> tuple[Answer, float]:
        """The answer, and how many of its milliseconds are the way to a model on trial and back. Under its lock."""
        generation.busy_since = started = self._clock()
        write = generation.prepare.in_place(raw)
        if write is not None:
            outputs = generation.model.infer_in_place(write, raw)
        else:
            outputs = generation.model.infer([generation.prepare(raw)])
        reading = read(outputs, generation.manifest.postprocess)
        if generation.abandoned:
            raise ModelError(Code.TIMEOUT, f"an inference of {generation.version} came back too late")
        answer = Answer(
            label=reading.label,
            confidence=reading.confidence,
            outputs=outputs,
            version=generation.version,
            artifact=generation.artifact,
            latency_ms=(self._clock() - started) * 1000,
            names=generation.names,
        )
        return answer, generation.model.handover_s * 1000

    def _tell_answered(self, number: int, answer: Answer, handover_ms: float) -> None:
        observation = Observation(
            number,
            answer.artifact,
            answer.version,
            answer.latency_ms - handover_ms,
            answer.label,
            answer.confidence,
            self._gap_ms(number),
        )
        for observer in self._observers:
            observer.answered(observation)
        if self._pause_wanted:
            self._pause.set()

    def _tell_failed(self, generation: Generation, error: ModelError) -> None:
        for observer in self._observers:
            observer.failed(generation, error.code, str(error))

    def _gap_ms(self, number: int) -> float:
        now = self._clock()
        with self._last_lock:
            before, self._last_answer = self._last_answer, (now, number)
            if before is None:
                return 0.0
            gap_ms = (now - before[0]) * 1000
            if before[1] != number:
                self.longest_flip_gap_ms = max(self.longest_flip_gap_ms, gap_ms)
                log.info("flip_took_effect", slot=self.name, gap_ms=round(gap_ms, 2))
            return gap_ms

    def wait_pause(self, patience_s: float = _PAUSE_PATIENCE_S) -> None:
        """Wait until an inference has just ended, but not for long: a source with a rate leaves some time after it."""
        if self._live is None:
            return
        self._pause.clear()
        self._pause_wanted = True
        self._pause.wait(patience_s)
        self._pause_wanted = False

    # --- the main loop's side ---

    def park(self, ticket: int, generation: Generation) -> None:
        """Keep what was built until it is flipped to."""
        self._parked[ticket] = generation

    def park_held(self, ticket: int, digest: str) -> bool:
        """Park what is still held ready for `digest`, if it is."""
        held = self._held.pop(digest, None)
        if held is not None:
            self._parked[ticket] = held
        return held is not None

    def flip(self, ticket: int) -> bool:
        """Serve what was parked under `ticket` from the next inference on; whether what served before had hung."""
        before, self._live = self._live, self._parked.pop(ticket)
        self._ready.set()
        self._parked.clear()
        if before is None or self._abandon_if_hung(before):
            return before is not None
        self._held[before.artifact] = before
        if self._live.is_on_trial:
            self._live.stand_in = before
        return False

    def let_go(self) -> None:
        """Forget what the model on trial replaced: from now on it answers alone, and the memory is wanted."""
        self._held.clear()
        if self._live is not None:
            self._live.stand_in = None

    def release(self) -> None:
        """Let go of what no longer serves; its memory goes with the last inference that uses it."""
        self._held.clear()
        self._parked.clear()

    def empty(self) -> bool:
        """Serve nothing; whether what served before had hung."""
        self._ready.clear()
        before, self._live = self._live, None
        self.release()
        return before is not None and self._abandon_if_hung(before)

    def _abandon_if_hung(self, generation: Generation) -> bool:
        hung = self._has_hung(generation)
        generation.abandoned = generation.abandoned or hung
        return hung

    def stuck(self) -> Generation | None:
        """The live generation when its inference takes longer than anything sane."""
        live = self._live
        return live if live is not None and self._has_hung(live) else None

    def _has_hung(self, generation: Generation) -> bool:
        since = generation.busy_since
        return since is not None and self._clock() - since > self._hang_s


class Builder:
    """Loads and warms generations, off the hot path."""

    def __init__(self, slots: Slots, runtime: Callable[[str], Runtime], trial: TrialLimits) -> None:
        """`runtime` gives the engine of a name."""
        self._slots = slots
        self._runtime = runtime
        self._trial = trial

    def build(self, digest: str, calm: Callable[[], None]) -> Generation:
        """A generation that is ready to serve at full speed: loaded, compared with its manifest, run once.

        `calm` waits for a good moment to hold up this process's other threads for some milliseconds.

        Raises:
            AgentError: the artifact is damaged, or the engine refuses it.
        """
        manifest = self._slots.manifest(digest)
        folder = self._slots.complete(digest)
        trial = self._trial
        model = load_artifact(
            folder, manifest, self._runtime, threads=trial.threads, accelerator=trial.accelerator, calm=calm
        )
        model.infer(warm_up(golden_of(folder, manifest, limit=1), manifest.signature))
        return Generation(digest, manifest.version, manifest, model)

    def try_out(self, digest: str, calm: Callable[[], None]) -> tuple[Verdict, Generation | None]:
        """Check an artifact in a child; after a good verdict, a generation that serves from there.

        What needs an accelerator that this process may have open is checked, and serves, here. `calm`: as in `build`.

        Raises:
            AgentError: the artifact is damaged.
        """
        manifest = self._slots.manifest(digest)
        folder, limits = self._slots.complete(digest), self._trial
        if is_exclusive(manifest.runtime, folder.file(MODEL_FILES[manifest.runtime][0]), limits.accelerator):
            verdict, inside = prove(
                folder,
                manifest,
                self._runtime,
                threads=limits.threads,
                accelerator=limits.accelerator,
                calm=calm,
            )
            return verdict, Generation(digest, manifest.version, manifest, inside) if inside is not None else None
        # Only a board that gets something new needs the machinery for child processes, and none at its start.
        from litefleet_agent.trial import try_out

        verdict, model = try_out(folder.path, manifest.signature, limits)
        if model is None:
            return verdict, None
        return verdict, Generation(digest, manifest.version, manifest, model, is_on_trial=True)

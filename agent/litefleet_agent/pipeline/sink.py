"""Where answers go: one JSON line an input."""

from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.runtime.interface import Tensor
from litefleet_agent.swap import Answer

_MAX_VALUES = 256
"""Numbers of an output that a line holds: a wake word's score or a face's box, and no segmentation mask."""


class Answered(Struct, frozen=True):
    """What came of an input that was answered."""

    seq: int
    """Contiguous from 0 in this run of the agent."""
    input: str
    answer: Answer
    t: float
    """Unix seconds, the board's clock."""


class Unanswered(Struct, frozen=True):
    """The line of an input that could not be answered."""

    seq: int
    input: str
    error: str


class AnsweredLine(Struct, frozen=True, rename="camel"):
    """`Answered` as it is written."""

    seq: int
    input: str
    version: str
    artifact: str
    label: str
    confidence: float | None
    output: list[float]
    """The first output, flattened, dequantized, before post-processing."""
    t: float
    latency_ms: float


class OutputLine(Struct, frozen=True, rename="camel"):
    """One output of raw tensors: what it holds, and all of it where that isn't much."""

    name: str
    shape: tuple[int, ...]
    min: float
    max: float
    mean: float
    values: list[float] | None
    """Flattened, dequantized; None past _MAX_VALUES numbers."""


class TensorsLine(Struct, frozen=True, rename="camel"):
    """`Answered` as it is written where post-processing leaves the outputs as they are."""

    seq: int
    input: str
    version: str
    artifact: str
    outputs: list[OutputLine]
    t: float
    latency_ms: float


class Sink(Protocol):
    """Takes what came of each input, in order."""

    def write(self, line: Answered | Unanswered) -> None:
        """Keep it."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class FileSink:
    """Appends JSON lines to a file."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._file = disk.lines(path)
        self._encoder = msgspec.json.Encoder()

    def write(self, line: Answered | Unanswered) -> None:
        """Append one line, whole or not at all."""
        whole = as_line(line) if isinstance(line, Answered) else line
        self._file.append(self._encoder.encode(whole) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NullSink:
    """Drops everything: telemetry counts it all the same."""

    def write(self, line: Answered | Unanswered) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def as_line(given: Answered) -> AnsweredLine | TensorsLine:
    """An answer as a line."""
    answer = given.answer
    if answer.confidence is None and not answer.label:
        return TensorsLine(
            seq=given.seq,
            input=given.input,
            version=answer.version,
            artifact=answer.artifact,
            outputs=[_output(name, y) for name, y in zip(answer.names, answer.outputs, strict=True)],
            t=given.t,
            latency_ms=answer.latency_ms,
        )
    return AnsweredLine(
        seq=given.seq,
        input=given.input,
        version=answer.version,
        artifact=answer.artifact,
        label=answer.label,
        confidence=answer.confidence,
        output=answer.outputs[0].reshape(-1).tolist() if answer.outputs else [],
        t=given.t,
        latency_ms=answer.latency_ms,
    )


def _output(name: str, output: Tensor) -> OutputLine:
    values = output.reshape(-1)
    return OutputLine(
        name=name,
        shape=tuple(output.shape),
        min=float(values.min()) if values.size else 0.0,
        max=float(values.max()) if values.size else 0.0,
        mean=float(values.mean()) if values.size else 0.0,
        values=values.tolist() if values.size <= _MAX_VALUES else None,
    )

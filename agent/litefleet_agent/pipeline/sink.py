"""Where answers go: one JSON line an input."""

from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.swap import Answer


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


def as_line(given: Answered) -> AnsweredLine:
    """An answer as a line."""
    answer = given.answer
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

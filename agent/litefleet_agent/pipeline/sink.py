"""Where answers go: one JSON line an input."""

from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.swap import Answer


class Answered(Struct, frozen=True, rename="camel"):
    """The line of an input that was answered."""

    seq: int
    """Contiguous from 0 in this run of the agent."""
    input: str
    version: str
    artifact: str
    label: str
    confidence: float | None
    output: list[float]
    """The first output, flattened, dequantized, before post-processing."""
    t: float
    """Unix seconds, the board's clock."""
    latency_ms: float


class Unanswered(Struct, frozen=True):
    """The line of an input that could not be answered."""

    seq: int
    input: str
    error: str


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
        self._file.append(self._encoder.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NullSink:
    """Drops everything: telemetry counts it all the same."""

    def write(self, line: Answered | Unanswered) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def answered(seq: int, name: str, answer: Answer, wall: float) -> Answered:
    """An answer as a line."""
    return Answered(
        seq=seq,
        input=name,
        version=answer.version,
        artifact=answer.artifact,
        label=answer.label,
        confidence=answer.confidence,
        output=answer.outputs[0].reshape(-1).tolist() if answer.outputs else [],
        t=wall,
        latency_ms=answer.latency_ms,
    )

"""How long a variant takes: on the boards of a class, or on this machine as a hint. Pure, but for reading a processor.

A latency means something only on its processor. int8 may be slower than float32 on a machine without instructions for
it and three times faster on a board that has them, so every figure says where it is from, and choice.py never compares
two from different places.
"""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from litefleet_protocol.tensors import Signature

MIN_INFERENCES = 100
"""Of boards, before their latency counts."""
_SAME_SIZE = 0.02
"""Share by which the sizes of two variants of one network may differ."""
_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("model name", "Model", "Hardware")
"""Fields of /proc/cpuinfo that name the processor: x86, Raspberry Pi, other ARM boards."""


class Hint(Struct, frozen=True, kw_only=True):
    """Measured where the variant was made, on one thread, while it was compared with its source."""

    p50_ms: float
    p99_ms: float
    inferences: int
    machine: str
    """Architecture, as `uname -m` has it."""
    processor: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What boards of a class measured with an artifact."""

    recipe: str
    version: str
    """The ModelVersion that it was of."""
    size: int
    """Bytes of the model's files."""
    form: tuple[tuple[tuple[int, ...], str], ...]
    """See `form_of`."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    inferences: int
    devices: int


def hint_of(seconds: Sequence[float]) -> Hint:
    """Of the inferences of one variant, at least one."""
    ordered = sorted(seconds)

    def quantile(q: float) -> float:
        return round(1000 * ordered[round(q * (len(ordered) - 1))], 6)

    return Hint(
        p50_ms=quantile(0.5),
        p99_ms=quantile(0.99),
        inferences=len(ordered),
        machine=platform.machine(),
        processor=processor(),
    )


def processor() -> str:
    """What this machine's processor calls itself; its architecture when it doesn't say."""
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in named.items()}
    return next((fields[name] for name in _NAMES if fields.get(name)), platform.machine())[:120]


def same_machine(hint: Hint, machines: Iterable[str]) -> bool:
    """Whether all boards are of the architecture that a hint was measured on, and at least one has said so."""
    of_boards = {_MACHINES.get(m, m) for m in machines}
    return of_boards == {_MACHINES.get(hint.machine, hint.machine)}


def form_of(signature: Signature) -> tuple[tuple[tuple[int, ...], str], ...]:
    """What tells networks apart beside their size: shapes and dtypes of what goes in and comes out."""
    return tuple((t.shape, t.dtype) for t in (*signature.inputs, *signature.outputs))


def seen_of(recipe: str, size: int, signature: Signature, seen: Iterable[Seen]) -> Seen | None:
    """What boards measured with this variant or one like it: the same recipe, of a network of the same form and size.

    A retrained model takes as long as the one before it, another architecture doesn't. `seen`: the newest first.
    """
    for one in seen:
        is_alike = one.form == form_of(signature) and abs(one.size - size) <= _SAME_SIZE * max(size, one.size)
        if one.recipe == recipe and is_alike and one.inferences >= MIN_INFERENCES:
            return one
    return None

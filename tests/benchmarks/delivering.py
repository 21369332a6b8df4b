"""What an artifact costs on its way to boards: the broker's egress, the controller's publishes, and a cut link.

All of it real: the embedded broker with its own configuration, policy and mutual TLS, the controller's publisher and
its answers to `need`, the agent's link and fetcher. Only the boards' disks aren't waited for.
"""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from structlog.testing import capture_logs

from litefleet_protocol.limits import CHUNK_BYTES
from tests.agent.artifacts import Key, Made, make
from tests.benchmarks.brokered import Brokered, brokered
from tests.benchmarks.cutting import poor_link
from tests.figures import Figure, Run

ARTIFACT_BYTES = 4 * 1024 * 1024
FEW, MANY = 20, 200
_BOARDS_A_PROCESS = 100


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    artifact_bytes: int = ARTIFACT_BYTES
    few: int = FEW
    many: int = MANY
    transfers: int = 8
    cuts: int = 4
    """In one transfer."""
    fast: float = 2e6
    """Bytes a second of the link that is cut."""
    slow: float = 32e3
    """Bytes a second of a poor link."""
    slow_bytes: int = 1024 * 1024


_SAMPLE = Scale(512 * 1024, 2, 4, transfers=1, cuts=2, slow=128e3, slow_bytes=256 * 1024)


def delivering(run: Run) -> Sequence[Figure]:
    """Egress and publishes at 20 and 200 boards, then chunks received twice after cuts, then a slow link."""
    scale = _SAMPLE if run.sample else Scale()
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        return asyncio.run(_measure(Path(folder), run.seed, scale))


async def _measure(folder: Path, seed: int, scale: Scale) -> Sequence[Figure]:
    names = [f"board-{n}" for n in range(scale.many)]
    rng = random.Random(seed)
    async with brokered(folder, names) as side:
        few = await _fan_out(side, names[: scale.few], _artifact(rng, scale.artifact_bytes))
        many = await _fan_out(side, names, _artifact(rng, scale.artifact_bytes))
        cut = await _cut(side, names[0], rng, scale, seed)
        slow = await _slow(side, names[0], rng, scale, seed)
    return [*_figures(few, many, scale, seed), cut, slow]


# --- many boards ---


@dataclass(frozen=True, slots=True)
class FanOut:
    """One artifact to many boards."""

    egress: int
    """Bytes of MQTT to the boards from the begin of the transfer to its end: the manifest and acknowledgements, too."""
    wire: int
    """The same with TLS records around them, as the boards' kernel counts."""
    connecting: int
    """Bytes on the wire before: TLS handshakes with client certificates, CONNACK."""
    publishes: int
    needs: int
    twice: int


async def _fan_out(side: Brokered, names: Sequence[str], made: Made) -> FanOut:
    before = side.link.published
    await side.publish(made)
    groups = [names[i : i + _BOARDS_A_PROCESS] for i in range(0, len(names), _BOARDS_A_PROCESS)]
    async with contextlib.AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(side.boards(group)) for group in groups]
        received = [r for part in await asyncio.gather(*(p.fetch(made.digest) for p in processes)) for r in part]
    return FanOut(
        egress=sum(r["mqttBytes"] for r in received),
        wire=sum(r["wireBytes"] for r in received),
        connecting=sum(r["connectBytes"] for r in received),
        publishes=side.link.published - before,
        needs=sum(r["needs"] for r in received),
        twice=sum(sum(r["twice"]) for r in received),
    )


def _figures(few: FanOut, many: FanOut, scale: Scale, seed: int) -> list[Figure]:
    wanted = scale.artifact_bytes * scale.many
    note = (
        f"{scale.artifact_bytes / 2**20:g} MiB to {scale.many} boards over established connections, all MQTT bytes; "
        f"{many.needs} requests for missing chunks; connecting costs {many.connecting / scale.many:.0f} bytes a board"
    )
    sides = {
        "egress MiB": many.egress / 2**20,
        "artifact x boards MiB": wanted / 2**20,
        "ratio with TLS records": many.wire / wanted,
    }
    return [
        Figure("deliver-egress", many.egress / wanted, "of artifact x boards", 1.005, "<=", sides, seed, note),
        Figure(
            "deliver-publishes",
            many.publishes / few.publishes,
            "of those for few",
            1.01,
            "<=",
            {f"to {scale.many} boards": many.publishes, f"to {scale.few} boards": few.publishes},
            seed,
        ),
    ]


# --- one board on a poor link ---


async def _cut(side: Brokered, name: str, rng: random.Random, scale: Scale, seed: int) -> Figure:
    """The most chunks that came twice after one cut."""
    after: list[int] = []
    farthest = 2 * scale.artifact_bytes // (scale.cuts + 1)
    for _ in range(scale.transfers):
        made = _artifact(rng, scale.artifact_bytes)
        await side.publish(made)
        budgets = iter([rng.randrange(CHUNK_BYTES // 2, farthest) for _ in range(scale.cuts)])
        async with poor_link(side.port, budgets, scale.fast) as (port, link), side.boards([name], port=port) as board:
            (received,) = await board.fetch(made.digest)
            after += received["twice"][1:]
            assert received["twice"][0] == 0 or not link.cuts, "twice without a cut"
    note = f"{len(after)} cuts at random bytes of {scale.transfers} transfers at {scale.fast / 1e6:g} MB/s"
    sides = {"cuts": len(after), "chunks twice in all": sum(after)}
    return Figure("deliver-resume", max(after, default=0), "chunks twice a cut", 1, "<=", sides, seed, note)


async def _slow(side: Brokered, name: str, rng: random.Random, scale: Scale, seed: int) -> Figure:
    """Whether a link that needs seconds for a chunk gets each chunk once."""
    made = _artifact(rng, scale.slow_bytes)
    await side.publish(made)
    before = side.link.published
    async with poor_link(side.port, iter(()), scale.slow) as (port, _), side.boards([name], port=port) as board:
        (received,) = await board.fetch(made.digest)
    sides = {"requests for missing chunks": received["needs"], "publishes": side.link.published - before}
    note = f"{scale.slow_bytes / 2**10:g} KiB at {scale.slow * 8 / 1e3:g} kbit/s, to one board"
    ratio = received["mqttBytes"] / scale.slow_bytes
    return Figure("deliver-slow-egress", ratio, "of the artifact", 1.005, "<=", sides, seed, note)


def _artifact(rng: random.Random, size: int) -> Made:
    return make(Key(), rng.randbytes(size), None, chunk_bytes=CHUNK_BYTES)

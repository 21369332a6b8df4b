"""The end of the demo: the table, the refusals, the ways back; for people and as JSON."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """One board at the end."""

    name: str
    device_class: str
    version: str
    variant: str
    bytes: int
    agreement: float
    inferences: int
    lost: int
    wrong: int
    longest_gap_ms: float
    state: str

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "name": self.name,
            "class": self.device_class,
            "version": self.version,
            "variant": self.variant,
            "bytes": self.bytes,
            "agreement": self.agreement,
            "inferences": self.inferences,
            "lost": self.lost,
            "wrong": self.wrong,
            "longestGapMs": self.longest_gap_ms,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class RefusalLine:
    """A rung, or a whole version for a class, that was refused before any board got it."""

    model_version: str
    device_class: str
    code: str
    message: str

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "modelVersion": self.model_version,
            "class": self.device_class,
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class RollbackLine:
    """A class that went back by itself."""

    rollout: str
    device_class: str
    cause: str
    message: str

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"rollout": self.rollout, "class": self.device_class, "cause": self.cause, "message": self.message}


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    devices: Sequence[DeviceLine]
    refusals: Sequence[RefusalLine]
    rollbacks: Sequence[RollbackLine]
    seconds: float

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "devices": [d.json() for d in self.devices],
            "refusals": [r.json() for r in self.refusals],
            "rollbacks": [r.json() for r in self.rollbacks],
            "seconds": round(self.seconds, 1),
        }

    @property
    def kept_its_word(self) -> bool:
        """No inference lost, none answered wrongly, every board served, and both bad versions were caught."""
        served = all(d.inferences > 0 and d.lost == 0 and d.wrong == 0 for d in self.devices)
        return served and bool(self.devices) and bool(self.refusals) and bool(self.rollbacks)

    def svg(self) -> str:
        """The end of the demo as a picture of a terminal."""
        console = Console(record=True, width=134, file=io.StringIO(), highlight=False, markup=False)
        self.print(console)
        # Without Rich's font, which a browser would fetch from elsewhere.
        return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="litefleet demo"), flags=re.DOTALL)

    def print(self, console: Console) -> None:
        """For people."""
        table = Table(
            title="Every board at the end",
            title_justify="left",
            header_style="bold",
            box=box.SIMPLE_HEAD,
            padding=(0, 1),
        )
        for name, justify in (
            ("board", "left"), ("class", "left"), ("version", "left"), ("variant", "left"), ("bytes", "right"),
            ("agrees", "right"), ("inferences", "right"), ("lost", "right"), ("wrong", "right"),
            ("gap", "right"), ("state", "left"),
        ):  # fmt: skip
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # literals of the tuple above
        for d in self.devices:
            table.add_row(
                d.name, d.device_class, d.version, d.variant, f"{d.bytes:,}", f"{d.agreement:.1%}", f"{d.inferences:,}",
                str(d.lost), str(d.wrong), f"{d.longest_gap_ms:.0f} ms", d.state,
            )  # fmt: skip
        console.print()
        console.print(table, soft_wrap=False)
        console.print("Refused before any board got it", style="bold")
        for r in self.refusals:
            console.print(f"  {r.model_version} for {r.device_class}: {r.code}: {r.message}")
        console.print("\nTaken back by itself", style="bold")
        for b in self.rollbacks:
            console.print(f"  {b.rollout} on {b.device_class}: {b.cause}: {b.message}")
        console.print()

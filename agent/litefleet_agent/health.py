"""How the board is: memory, temperature, and whether its clock can be believed. Read when asked, never watched."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from litefleet_agent import __version__
from litefleet_protocol.messages import Capabilities

YEAR_2024 = 1_704_067_200.0
"""Unix seconds: before this program was written, no clock was right."""
FAR_S = 10 * 365 * 86_400.0
"""A clock this far past the program's own files is no clock to believe."""


def rss_bytes(pid: int | None = None) -> int | None:
    """Memory of a process (this one unless told) that is in RAM; None where the system doesn't tell."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def temperature_c() -> float | None:
    """The hottest thermal zone, degrees Celsius; None where there is none."""
    found = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(path.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def memory_bytes() -> int | None:
    """The board's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def clock_trusted(wall: float) -> bool:
    """Whether the wall clock is possible at all. Nothing but a mark on telemetry hangs on it."""
    try:
        built = Path(__file__).stat().st_mtime
    except OSError:
        built = YEAR_2024
    return wall >= YEAR_2024 and abs(wall - built) < FAR_S


def capabilities(disk_free: int | None, runtimes: Mapping[str, str] = MappingProxyType({})) -> Capabilities:
    """What the board is and has; `runtimes` are versions of its engines by name."""
    return Capabilities(
        agent=__version__,
        runtimes=dict(runtimes),
        machine=os.uname().machine,
        python=f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        memory_bytes=memory_bytes(),
        disk_free_bytes=disk_free,
    )

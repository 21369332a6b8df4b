"""What a worker may use and how long it lives. One place, so that an operator finds every number."""

from dataclasses import dataclass, field

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of one worker process. Tensorflow alone is 0.6 GB of memory and some seconds of CPU time."""

    max_rss_bytes: int = 6 * _GIB
    """Resident memory, with that of what it started; above it the worker is killed: `MemoryLimit`."""
    max_data_bytes: int = 16 * _GIB
    """RLIMIT_DATA, for what grows faster than the resident size is looked at."""
    max_scratch_bytes: int = 8 * _GIB
    """On the disk, in its scratch folder; above it the worker is killed: `DiskLimit`."""
    max_processes: int = 32
    """Itself, and what it started; above it the worker is killed: `ProcessLimit`. A compiler needs a few."""
    cpu_seconds: int = 3600
    """CPU time of one task, all threads together."""
    stage_seconds: float = 900.0
    """Wall clock of one stage; evaluating counts as progress with every hundred samples."""
    check_seconds: float = 60.0
    """Wall clock in which a foreign `.tflite` file must be loaded and give its first answer."""
    watch_seconds: float = 0.2
    """How often its use of memory, disk and processes is looked at."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """When a worker that is well is kept, and when it goes."""

    recycle_after: int = 50
    """Tasks; the converter leaks 4 to 18 MB a call."""
    recycle_above_bytes: int = 2 * _GIB
    """Resident memory after a task."""
    idle_seconds: float = 120.0
    """A warm tensorflow worker holds 0.6 GB, so it ends when nobody needs it; starting one takes seconds."""
    worker: WorkerLimits = field(default_factory=WorkerLimits)

"""A wall clock that can be set while programs run, for them alone (wrong_clock.c).

The monotonic clock is left right, as a jump of a real clock leaves it. What is wrong is what the C library answers, so
that OpenSSL, in Python and in mosquitto, judges certificates by it, too.
"""

import os
import shutil
import struct
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from litefleet_controller.delivery.broker_program import find_program
from tests.figures import UnavailableError

EARLY = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
LATE = datetime(2061, 5, 6, tzinfo=UTC)
_SOURCE = Path(__file__).with_suffix(".c")


class Clock:
    """One wall clock; programs that are started with its `environment` look at it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._library = folder / "wrong_clock.so"
        if not self._library.exists():
            compiler = shutil.which("cc")
            if compiler is None:
                raise UnavailableError("there is no C compiler (scripts/get-cc)")
            command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE)]
            subprocess.run(command, check=True, timeout=60)
        self._file = folder / f"{name}.clock"
        self._file.write_bytes(bytes(8))
        self._wrapper = folder / f"mosquitto-{name}"

    def set(self, moment: datetime | None) -> None:
        """It is `moment` now; None for the truth."""
        seconds = 0 if moment is None else int(moment.timestamp() - time.time())
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    @property
    def environment(self) -> dict[str, str]:
        """For a program; a controller's mosquitto, which inherits no environment, gets it by a script in its place."""
        program = find_program(os.environ)
        mine = {"LD_PRELOAD": str(self._library), "WRONG_CLOCK_FILE": str(self._file)}
        settings = " ".join(f"{name}='{value}'" for name, value in mine.items())
        self._wrapper.write_text(f'#!/bin/sh\nexec env {settings} {program.executable} "$@"\n')
        self._wrapper.chmod(0o755)
        return mine | {
            "LITEFLEET_MOSQUITTO": str(self._wrapper),
            "LITEFLEET_MOSQUITTO_DYNSEC": str(program.plugin),
        }

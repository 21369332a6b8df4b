"""Models and data sets, made once for all runs and for all of pytest-xdist's workers.

They stay in `.cache` until what makes them changes: a minute of tensorflow each time otherwise.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[3]
_MAKER = Path(__file__).with_name("make_models.py")
_USED = (
    Path(__file__).with_name("detecting.py"),
    _REPOSITORY / "controller/litefleet_controller/convert/training.py",
    _REPOSITORY / "controller/litefleet_controller/fleet/packing.py",
    _REPOSITORY / "uv.lock",
)
"""What it imports, and the versions of everything else."""


@dataclass(frozen=True)
class Workshop:
    """The folder that make_models.py filled, and what training said in the end."""

    folder: Path
    training: list[dict[str, object]]

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """Read only: later runs use it, too."""
    shelf = _REPOSITORY / ".cache" / "workshop"
    shelf.mkdir(parents=True, exist_ok=True)
    folder = shelf / _made_of()
    said = folder / "training.jsonl"
    with (shelf / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            for old in shelf.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            folder.mkdir()
            done = subprocess.run(
                [sys.executable, "-m", "tests.controller.convert.make_models", str(folder)],
                cwd=_REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            said.write_text(done.stdout)
    return Workshop(folder, [json.loads(line) for line in said.read_text().splitlines()])


def _made_of() -> str:
    """Names everything that the models hang on."""
    digest = hashlib.sha256()
    for path in (_MAKER, *_USED):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

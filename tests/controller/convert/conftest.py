"""Models and data sets, made once a session (and once for all of pytest-xdist's workers)."""

import fcntl
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_MAKER = Path(__file__).with_name("make_models.py")


@dataclass(frozen=True)
class Workshop:
    """The folder that make_models.py filled, and what training said in the end."""

    folder: Path
    training: list[dict[str, object]]

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workshop:
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "workshop"
    folder.mkdir(exist_ok=True)
    said = folder / "training.jsonl"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            done = subprocess.run(
                [sys.executable, str(_MAKER), str(folder)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-2000:]
            said.write_text(done.stdout)
    return Workshop(folder, [json.loads(line) for line in said.read_text().splitlines()])

"""What OpenVINO and ONNX Runtime cost a board beside LiteRT, which is part of the agent."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from litefleet_protocol.runtimes import RuntimeName
from tests.agent.runtime.kits import files
from tests.figures import Figure, Run

_TIMES = 7
_GOALS = {RuntimeName.OPENVINO: 2.0, RuntimeName.ONNXRUNTIME: 1.5}

_PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
import litefleet_agent.compose  # all that an agent has loaded before its first model
from litefleet_agent import heap
heap.one_arena()
from litefleet_agent.health import rss_bytes
from litefleet_agent.runtime.engines import runtime
folder = Path(sys.argv[2])
path, *others = (folder / name for name in sys.argv[3:])
def sha(file): return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
beside = {other.name: sha(other) for other in others}
model = runtime(sys.argv[1]).load(path, threads=1, digest=sha(path), beside=beside)
for _ in range(10):
    model.infer([np.ones((1, 4), np.float32)])
print(json.dumps(rss_bytes() / 2**20))
"""


def engines(run: Run) -> Sequence[Figure]:
    """Resident memory of a process with the agent's modules that runs one dense layer; LiteRT's is the measure of it."""
    times = 1 if run.sample else _TIMES
    found: dict[str, list[float]] = {name: [] for name in RuntimeName}
    with tempfile.TemporaryDirectory() as folder:
        for name in RuntimeName:
            (Path(folder) / name).mkdir()
            for file, data in files(name, "a").items():
                (Path(folder) / name / file).write_bytes(data)
        for _ in range(times):
            for name in RuntimeName:  # in turns, so that what the machine does meanwhile falls on all
                found[name].append(_rss_mib(name, Path(folder) / name))
    mib = {name: statistics.median(values) for name, values in found.items()}
    note = f"one dense layer, x86-64, median of {times}"
    return [
        Figure(
            f"engine-memory-{name}",
            mib[name] / mib[RuntimeName.LITERT],
            "of LiteRT's",
            goal,
            "<=",
            {f"{name} MiB": mib[name], "litert MiB": mib[RuntimeName.LITERT]},
            run.seed,
            note,
        )
        for name, goal in _GOALS.items()
    ]


def _rss_mib(name: str, folder: Path) -> float:
    model_files = list(files(name, "a"))
    command = [sys.executable, "-c", _PROGRAM, name, str(folder), *model_files]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))

"""What a conversion costs the first time, and the same request again."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.cli.demo.digits import SCALE, DataSets, write_data_sets
from litefleet_controller.convert.interface import ConversionRequest, ParityLimits
from litefleet_controller.convert.local import LocalConverter
from litefleet_protocol.tensors import Preprocess
from tests.figures import Figure, Run


def converting(_run: Run) -> Sequence[Figure]:
    """Wall seconds on a digits model: first request with a cold worker, a second class, the first request again."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_data_sets(Path(folder) / "data")
        model = _train(Path(folder), data)
        return asyncio.run(_measure(Path(folder), data, model))


def _train(folder: Path, data: DataSets) -> Path:
    job = {
        "name": "m",
        "data": str(data.training),
        "out": str(folder / "m.keras"),
        "epochs": 6,
        "seed": 1,
        "scale": SCALE,
    }
    (folder / "jobs.json").write_text(json.dumps([job]))
    command = [sys.executable, "-m", "litefleet_controller.convert.training", "--jobs", str(folder / "jobs.json")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "m.keras"


async def _measure(folder: Path, data: DataSets, model: Path) -> Sequence[Figure]:
    blobs = DirectoryBlobs(folder / "blobs")
    request = ConversionRequest(
        device_class="a",
        source=await blobs.put(model.read_bytes()),
        source_format="keras",
        ladder=("int8",),
        limits=ParityLimits(min_agreement=0.9, max_accuracy_drop=0.05),
        evaluation=await blobs.put(data.evaluation.read_bytes()),
        calibration=await blobs.put(data.calibration.read_bytes()),
        preprocess=Preprocess(channels=1, scale=SCALE),
    )
    converter = LocalConverter(blobs, folder / "work")
    try:
        first = await _seconds(converter, request)
        again = await _seconds(converter, request)
    finally:
        await converter.close()
    return [Figure("convert-repeated", again / first, "of the first", 0.01, "<", {"first_s": first, "again_s": again})]


async def _seconds(converter: LocalConverter, request: ConversionRequest) -> float:
    began = time.perf_counter()
    outcome = await converter.convert(request, lambda _: None)
    assert outcome.made is not None, outcome.refused
    return time.perf_counter() - began

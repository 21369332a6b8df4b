"""Models that others trained, as they come in packages: which recipes answer as the file does, and on a real board.

A row a model: what a board with the ladder int8, dynamic-int8, weight-only-int8, float16, float32 got of it, as a share
of its file's size, after conversion, rollout and answers there that were held against the file's own. A share of the
evaluation set agrees by each recipe ("made of"), with the default tolerance of 0.1 of each output's spread
(docs/tensors.md). Files in float16 have half the size that float32 would; a file that a board can't run is a row with
its refusal. What the inputs are, and how near to what a model was trained on, stands in tests/outside.py.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.convert.interface import (
    ConversionError,
    ConversionRequest,
    Measure,
    ParityLimits,
    RecipeName,
)
from litefleet_controller.convert.local import LocalConverter
from litefleet_protocol.tensors import Postprocess
from tests.figures import Figure, Run
from tests.flow.fleet import fleet
from tests.outside import MODELS, Outside
from tests.outside_fleet import CALIBRATION, EVALUATION, name_of, npz, serve

LADDER: tuple[RecipeName, ...] = ("int8", "dynamic-int8", "weight-only-int8", "float16", "float32")
_SAMPLE = ("hey_rhasspy",)
_ALL_PASS = ParityLimits(min_agreement=0.0, max_accuracy_drop=1.0)


def outside(run: Run) -> Sequence[Figure]:
    """Without boards in a sample: tests/flow/test_outside.py has those."""
    samples, live = (16, 0) if run.sample else (100, 20)
    chosen = [MODELS[name] for name in _SAMPLE] if run.sample else list(MODELS.values())
    with tempfile.TemporaryDirectory() as folder:
        agreements = asyncio.run(_agreements(chosen, Path(folder) / "recipes", samples))
        figures = [_refusal(model, agreements[model.name]) for model in chosen if model.refused]
        servable = [model for model in chosen if not model.refused]
        if live:
            figures += list(_on_boards(servable, agreements, Path(folder) / "fleet", samples, live))
        else:
            figures += [_made(model, agreements[model.name]) for model in servable]
    return figures


async def _agreements(
    models: Sequence[Outside], folder: Path, samples: int
) -> dict[str, dict[RecipeName, float | ConversionError]]:
    """The share of the evaluation set that agrees by each recipe; 0 where nothing can be made."""
    blobs = DirectoryBlobs(folder / "blobs")
    converter = LocalConverter(blobs, folder / "work")
    found: dict[str, dict[RecipeName, float | ConversionError]] = {}
    try:
        for model in models:
            source = await blobs.put(model.path.read_bytes())
            evaluation = await blobs.put(npz(model.data(EVALUATION, samples)))
            calibration = await blobs.put(npz(model.data(CALIBRATION, samples)))
            found[model.name] = {}
            for recipe in LADDER:
                request = ConversionRequest(
                    device_class="any", source=source, source_format=model.format, ladder=(recipe,), limits=_ALL_PASS,
                    evaluation=evaluation, measure=Measure("closeness"), calibration=calibration,
                    input_shape=model.shape, preprocess=model.preprocess, postprocess=Postprocess(kind="none"),
                )  # fmt: skip
                try:
                    made = (await converter.convert(request, lambda _: None)).made
                except ConversionError as e:
                    found[model.name][recipe] = e
                else:
                    found[model.name][recipe] = made.agreement if made is not None else 0.0
    finally:
        await converter.close()
    return found


def _sides(agreements: dict[RecipeName, float | ConversionError]) -> dict[str, float]:
    return {recipe: a for recipe, a in agreements.items() if not isinstance(a, ConversionError)}


def _refusal(model: Outside, agreements: dict[RecipeName, float | ConversionError]) -> Figure:
    errors = [e for e in agreements.values() if isinstance(e, ConversionError)]
    as_known = [e for e in errors if e.code == model.refused]
    said = f"{errors[0].code}: {errors[0]}" if errors else "it wasn't refused"
    return Figure(f"{model.name}: recipes refused, with why", len(as_known), "recipes", len(LADDER), "==", note=said)


def _made(model: Outside, agreements: dict[RecipeName, float | ConversionError]) -> Figure:
    sides = _sides(agreements)
    passed = sum(a >= 0.95 for a in sides.values())
    return Figure(f"{model.name}: recipes that answer as the file", passed, "recipes", 1, ">=", sides)


def _on_boards(
    models: Sequence[Outside],
    agreements: dict[str, dict[RecipeName, float | ConversionError]],
    folder: Path,
    samples: int,
    live: int,
) -> Iterator[Figure]:
    folder.mkdir()
    served_models = 0
    with fleet(folder) as running:
        running.create("deviceclasses", "DeviceClass", "edge", {"variants": list(LADDER)})
        for model in models:
            board = f"{name_of(model)}-1"
            running.enroll(board, "edge", board)
            served = serve(running, model, board, folder / board, samples, live)
            running.kill_board(board)
            served_models += served.near == served.answers == live
            yield Figure(
                f"{model.name}: what a board got, of its file's size",
                served.variant["sizeBytes"] / model.path.stat().st_size, "ratio", 1.02, "<=",
                _sides(agreements[model.name]),
                note=f"{served.variant['recipe']}; {served.near} of {live} inputs answered there as by the file",
            )  # fmt: skip
    yield Figure("models from outside that answer on a board as their file", served_models, "models", 5, ">=")

"""Models from outside on boards: declared, converted, rolled out, and what the boards answered beside what the file says.

Used by the flow test for two of them and by the benchmark for all.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from tests.flow.fleet import Fleet, Json
from tests.outside import Outside

CALIBRATION, EVALUATION, LIVE = 1, 2, 3
"""Seeds: no input is used for two things."""


@dataclass(frozen=True)
class Served:
    """What came of a model on a board."""

    variant: Json
    refusals: list[Json]
    answers: int
    """Inputs that the board answered, each at least once."""
    near: int
    """Of those, how many were answered as the file itself does."""


def name_of(model: Outside) -> str:
    """As manifests may have it."""
    return model.name.replace("_", "-")


def npz(x: NDArray[Any]) -> bytes:
    """A data set without classes."""
    file = io.BytesIO()
    np.savez(file, x=x)
    return file.getvalue()


def spec_of(running: Fleet, model: Outside, folder: Path, samples: int) -> Json:
    """What a person would write in the Model."""
    pushed = {}
    for what, seed in (("calibration", CALIBRATION), ("evaluation", EVALUATION)):
        path = folder / f"{model.name}-{what}.npz"
        path.write_bytes(npz(model.data(seed, samples)))
        pushed[what] = {"uri": running.push(path)}
    shape = {"shape": list(model.shape)} if model.shape is not None else {}
    preprocess = {"scale": model.preprocess.scale, "offset": model.preprocess.offset}
    return {
        "source": {"uri": running.push(model.path), "format": model.format},
        "input": {"preprocess": preprocess, **shape},
        "output": {"postprocess": {"kind": "none"}},
        **pushed,
    }


def serve(running: Fleet, model: Outside, board: str, folder: Path, samples: int, live: int) -> Served:
    """Roll `model` out to `board`, which runs a pipeline over `folder`/live for it, and hear `live` answers."""
    name, x = name_of(model), model.data(LIVE, live)
    shown = folder / "live"
    shown.mkdir(parents=True)
    for n, sample in enumerate(x):
        np.save(shown / f"{n:03d}.npy", sample)
    running.run_board(board, shown, slot=name)
    running.create("models", "Model", name, spec_of(running, model, folder, samples))
    rollout = {"modelRef": {"name": name}, "selector": {"matchLabels": {"site": board}}, "probationSeconds": 2}
    running.create("modelrollouts", "ModelRollout", name, rollout | {"strategy": {"canary": {"steps": []}}})
    running.wait(
        f"{name} on {board}", lambda: running.status("modelrollouts", name).get("phase") in ("Healthy", "Degraded"), 240
    )
    assert running.status("modelrollouts", name)["phase"] == "Healthy", running.status("modelrollouts", name)
    running.wait("its answers", lambda: len({row["input"] for row in running.answers(board)}) == live)
    (entry,) = running.status("modelversions", f"{name}-v1")["classes"]
    rows = {row["input"]: row for row in running.answers(board)}
    wanted = _source_answers(model, x)
    near = sum(_is_near(rows[f"{n:03d}.npy"], [y[n] for y in wanted], wanted) for n in range(live))
    return Served(entry["variant"], entry.get("refusals") or [], len(rows), near)


def _source_answers(model: Outside, x: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Each output (N, ...), by the file itself, in code that neither converter nor agent has."""
    if model.format == "keras":
        return _keras_answers(model, x)
    interpreter = Interpreter(model_path=str(model.path), num_threads=1)
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, (1, *x.shape[1:]))
    interpreter.allocate_tensors()
    answers: list[list[Any]] = []
    for sample in x:
        interpreter.set_tensor(given, _preprocessed(model, sample[None]))
        interpreter.invoke()
        answers.append([interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()])
    return [np.stack(output) for output in zip(*answers, strict=True)]


def _keras_answers(model: Outside, x: NDArray[Any]) -> list[NDArray[np.float32]]:
    """The same of a `.keras` file; each output (N, 1, ...)."""
    import keras

    whole = keras.saving.load_model(model.path, compile=False)
    answers = whole.predict(_preprocessed(model, x), verbose=0)
    return [np.asarray(y)[:, None] for y in (answers if isinstance(answers, list) else [answers])]


def _preprocessed(model: Outside, x: NDArray[Any]) -> NDArray[np.float32]:
    how = model.preprocess
    return np.asarray(x.astype(np.float32) * np.float32(how.scale) + np.float32(how.offset))


def _is_near(row: Json, wanted: list[NDArray[np.float32]], everything: list[NDArray[np.float32]]) -> bool:
    """By all values where the line has them, by their mean where it hasn't; within a tenth of the output's spread."""
    for output, y, every in zip(row["outputs"], wanted, everything, strict=True):
        if output["shape"] != list(y.shape):
            return False
        spread = float(every.std()) or 1.0
        values = output["values"]
        error = abs(output["mean"] - y.mean()) if values is None else np.sqrt(np.mean((values - y.reshape(-1)) ** 2))
        if error > 0.1 * spread:
            return False
    return True

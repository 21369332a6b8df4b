"""Runs models in another release of the interpreter. A program for that release's Python: numpy and nothing of ours.

PYTHON old_runtime.py versions FOLDER            the highest version of each operator, of files that probes.py wrote
PYTHON old_runtime.py runs FOLDER                whether it runs each file on zeros
PYTHON old_runtime.py run MODEL INPUTS OUTPUTS   answers (N, classes) as `y` for `x` (N, ...) float32
"""

import json
import sys
from pathlib import Path

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

_UNKNOWN = ("Didn't find op for builtin", "Op builtin_code out of range")


def versions(folder: str) -> dict[str, int]:
    highest: dict[str, int] = {}
    for path in Path(folder).glob("*.tflite"):
        name, _, version = path.stem.rpartition("-")
        try:
            Interpreter(model_path=str(path))
        except ValueError as e:
            if any(said in str(e) for said in _UNKNOWN):
                continue
            raise
        highest[name] = max(highest.get(name, 0), int(version))
    return highest


def runs(folder: str) -> dict[str, bool]:
    found = {}
    for path in Path(folder).glob("*.tflite"):
        interpreter = Interpreter(model_path=str(path))
        try:
            interpreter.allocate_tensors()
        except RuntimeError as e:
            if "unresolved custom op" not in str(e):
                raise
            found[path.stem] = False
            continue
        given = interpreter.get_input_details()[0]
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
        interpreter.invoke()
        found[path.stem] = True
    return found


def run(model: str, inputs: str, outputs: str) -> None:
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers = []
    for x in np.load(inputs)["x"]:
        interpreter.set_tensor(given["index"], stored(x[None], given))
        interpreter.invoke()
        answers.append(meant(interpreter.get_tensor(made["index"]), made))
    np.savez(outputs, y=np.concatenate(answers))


def stored(x: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return x
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def meant(y: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    return (y.astype(np.float32) - zero) * np.float32(scale) if scale else y


if __name__ == "__main__":
    if sys.argv[1] in ("versions", "runs"):
        sys.stdout.write(json.dumps((versions if sys.argv[1] == "versions" else runs)(sys.argv[2])))
    else:
        run(*sys.argv[2:5])

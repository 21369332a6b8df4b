"""Run finished variants over a folder of images: the reference that a board's answers are checked against.

Started as a program, `python -m litefleet_controller.convert.replay JOB.json OUT.json`, by the demo and by tests. Its
own code path to the interpreter, not the agent's, so that a mistake there can't hide itself.
"""

import json
import sys
from pathlib import Path
from typing import Any


def replay(job: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Outputs (dequantized, flat) of each model of `job["models"]` for each image under `job["inputs"]`.

    `scale` multiplies the pixels (0..255), `channels` is 1.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image

    images = {
        path.name: np.asarray(Image.open(path).convert("L"), dtype=np.float32)[None, :, :, None]
        * np.float32(job["scale"])
        for path in sorted(Path(job["inputs"]).iterdir())
    }
    answers: dict[str, dict[str, list[float]]] = {}
    for name, path in job["models"].items():
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        answers[name] = {image: _answer(interpreter, x) for image, x in images.items()}
    return answers


def _answer(interpreter: Any, x: Any) -> list[float]:
    import numpy as np

    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if given["dtype"] != np.float32:
        scale, zero = given["quantization"]
        limits = np.iinfo(given["dtype"])
        x = np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(given["dtype"])
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(made["index"])
    if made["dtype"] != np.float32:
        scale, zero = made["quantization"]
        y = (y.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return [float(v) for v in y.ravel()]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(replay(json.loads(Path(sys.argv[1]).read_text()))))

"""What a model answers when it is run bare, in a process of its own: it may be one that kills."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

_PATIENCE_S = 20.0


class Oracle:
    """Answers by LiteRT alone, without anything of the agent. One that dies or hangs is replaced."""

    def __init__(self, live: np.ndarray) -> None:
        self._live = live
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, self._live), daemon=True)
        self._process.start()
        theirs.close()

    def outputs(self, path: Path) -> list[np.ndarray] | None:
        """The first output, dequantized, for each live input; None when the model can't be run to the end."""
        try:
            self._pipe.send(path)
            if self._pipe.poll(_PATIENCE_S):
                return self._pipe.recv()
        except (EOFError, OSError):
            pass
        self.close()
        self._start()
        return None

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _answer(pipe: Connection, live: np.ndarray) -> None:
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run_bare(path, live))
        except (ValueError, RuntimeError, UnicodeDecodeError):
            pipe.send(None)


def run_bare(path: Path, live: np.ndarray) -> list[np.ndarray]:
    """LiteRT's own set, invoke, get; quantization by the formulas of its documentation."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for x in live:
        interpreter.set_tensor(into["index"], _stored(x.reshape(into["shape"]), into))
        interpreter.invoke()
        outputs.append(_real(interpreter.get_tensor(out["index"]), out))
    return outputs


def _stored(x: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return x.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max).astype(details["dtype"])


def _real(y: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    return ((y.astype(np.float32) - np.float32(zero)) * np.float32(scale)) if scale else y.astype(np.float32)

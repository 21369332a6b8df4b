"""The pipeline: order, contiguous numbers, bad files, hangs, and slots that serve nothing for a while."""

import itertools
import time

import numpy as np
import pytest
from PIL import Image

from litefleet_agent.pipeline.loop import Pipeline
from litefleet_agent.pipeline.sink import Unanswered
from litefleet_agent.pipeline.source import DirectorySource, Input, InputError
from litefleet_agent.swap import HotSlot

from .broker import until
from .models import Scripted, generation

TICKETS = itertools.count(1)


class Lines:
    """Implements `Sink`."""

    def __init__(self):
        self.lines = []

    def write(self, line):
        self.lines.append(line)


class Bench:
    def __init__(self, folder, *, loop=False, rate_hz=0.0):
        self.folder = folder
        self.hot = HotSlot("digits", time.monotonic, hang_s=0.2)
        self.sink = Lines()
        self.failed_inputs = []
        self.pipeline = Pipeline(
            self.hot,
            DirectorySource(folder, loop=loop),
            self.sink,
            rate_hz=rate_hz,
            clock=time.monotonic,
            wall=time.time,
            input_failed=lambda: self.failed_inputs.append(1),
        )

    def serve(self, version, model=None):
        ticket = next(TICKETS)
        self.hot.park(ticket, generation(version, model))
        return self.hot.flip(ticket)

    def stop(self):
        self.pipeline.ask_to_stop()
        assert self.pipeline.wait(5)

    def wait_lines(self, count):
        until(lambda: len(self.sink.lines) >= count, f"{count} lines; {self.sink.lines[-2:]}")


@pytest.fixture
def bench(tmp_path):
    for n in range(5):
        np.save(tmp_path / f"{n}.npy", np.full(4, n, np.float32))
    made = Bench(tmp_path)
    yield made
    made.stop()


def test_inputs_wait_for_the_first_model_and_are_answered_in_name_order(bench):
    bench.pipeline.start()
    assert bench.sink.lines == []
    bench.serve("v1")
    bench.wait_lines(5)
    assert [(x.seq, x.input, x.version, x.output[0]) for x in bench.sink.lines] == [
        (n, f"{n}.npy", "v1", float(n)) for n in range(5)
    ]


def test_file_that_cannot_be_decoded_gets_an_error_line_and_the_rest_is_answered(bench):
    (bench.folder / "2.npy").write_bytes(b"not an array")
    (bench.folder / "3.png").write_bytes(b"not an image")
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(6)
    errors = [x for x in bench.sink.lines if isinstance(x, Unanswered)]
    assert [(x.seq, x.input) for x in errors] == [(2, "2.npy"), (4, "3.png")]
    assert len(bench.failed_inputs) == 2


def test_emptied_slot_loses_no_input(tmp_path, bench):
    bench = Bench(tmp_path, loop=True, rate_hz=200)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(7)
    bench.hot.empty()
    bench.serve("v2")
    seen = len(bench.sink.lines)
    bench.wait_lines(seen + 10)
    bench.stop()
    assert [x.seq for x in bench.sink.lines] == list(range(len(bench.sink.lines)))
    assert [x.input for x in bench.sink.lines] == [f"{n % 5}.npy" for n in range(len(bench.sink.lines))]


def test_input_of_a_hung_inference_is_answered_by_the_next_model(bench):
    hanging = Scripted()
    bench.serve("v1", hanging)
    hanging.gate.clear()
    bench.pipeline.start()
    hanging.entered.wait(5)
    until(lambda: bench.hot.stuck() is not None, "hang is noticed")
    assert bench.serve("v2")
    bench.pipeline.start()
    bench.wait_lines(5)
    hanging.gate.set()
    assert [(x.seq, x.input, x.version) for x in bench.sink.lines] == [(n, f"{n}.npy", "v2") for n in range(5)]


def test_rate_is_held(tmp_path, bench):
    bench = Bench(tmp_path, loop=True, rate_hz=50)
    bench.serve("v1")
    began = time.monotonic()
    bench.pipeline.start()
    bench.wait_lines(11)
    bench.stop()
    assert time.monotonic() - began >= 0.19


def test_folder_that_fills_later_is_read_later(tmp_path):
    bench = Bench(tmp_path / "later", loop=True)
    bench.serve("v1")
    bench.pipeline.start()
    (tmp_path / "later").mkdir()
    np.save(tmp_path / "later" / "0.npy", np.zeros(4, np.float32))
    bench.wait_lines(1)
    bench.stop()


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (2, 3)), ("RGB", (2, 3, 3)), ("1", (2, 3)), ("RGBA", (2, 3, 3)), ("P", (2, 3, 3))]
)
def test_images_are_decoded_to_bytes(tmp_path, mode, shape):
    Image.new(mode, (3, 2)).save(tmp_path / "x.png")
    array = Input(tmp_path / "x.png").load()
    assert (array.shape, array.dtype) == (shape, np.uint8)


def test_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        Input(tmp_path / "x.npy").load()

"""The pipeline: order, contiguous numbers, bad files, hangs, and slots that serve nothing for a while."""

import errno
import io
import itertools
import json
import os
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from litefleet_agent.fileio import Disk
from litefleet_agent.pipeline.loop import Pipeline, Tally
from litefleet_agent.pipeline.sink import Answered, FileSink, Unanswered
from litefleet_agent.pipeline.source import DirectorySource, Input, InputError
from litefleet_agent.swap import Answer, HotSlot

from .broker import until
from .models import Scripted, generation

TICKETS = itertools.count(1)


class Lines:
    """Implements `Sink`; its disk can be full."""

    def __init__(self):
        self.lines = []
        self.full = False
        self.refused = 0

    def write(self, line):
        if self.full:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines.append(line)

    def close(self):
        pass


class Bench:
    def __init__(self, folder, *, loop=False, rate_hz=0.0, clock=time.monotonic):
        self.folder = folder
        self.hot = HotSlot("digits", time.monotonic, hang_s=0.2)
        self.sink = Lines()
        self.failed_inputs = []
        self.missed = []
        self.pipeline = Pipeline(
            self.hot,
            DirectorySource(folder, loop=loop),
            self.sink,
            rate_hz=rate_hz,
            clock=clock,
            wall=time.time,
            tally=Tally(input_failed=lambda: self.failed_inputs.append(1), missed=self.missed.append),
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
    assert [(x.seq, x.input, x.answer.version, x.answer.outputs[0][0, 0]) for x in bench.sink.lines] == [
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("2.npy", b""),
        ("2.npy", b"PK\x03\x04 an archive that isn't one"),
        ("2.png", b""),
        ("2.jpg", b"\xff\xd8\xff\xe0 torn"),
    ],
)
def test_torn_and_foreign_files_get_an_error_line(bench, name, content):
    (bench.folder / "2.npy").unlink()
    (bench.folder / name).write_bytes(content)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(5)
    assert [x.input for x in bench.sink.lines if isinstance(x, Unanswered)] == [name]


def bomb():
    """A header that claims 60,000 x 60,000 pixels: Pillow refuses it with an error of its own."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "png")
    data = bytearray(file.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bomb(), id="decompression bomb"),
        pytest.param(b"PK\x03\x04", id="zip"),
    ],
)
def test_whatever_a_decoder_throws_is_an_input_error(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError):
        Input(tmp_path / "x.png").load()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (np.full(4, np.nan, np.float32), "BadMessage"),
        (np.full(4, np.inf, np.float64), "BadMessage"),
        (np.full(4, 1j, np.complex64), "BadMessage"),
        (np.zeros((0, 5, 1), np.float32), "BadShape"),
        (np.zeros(5, np.float32), "BadShape"),
        (np.float32(1.0).reshape(()), "BadShape"),
    ],
)
def test_input_that_no_model_can_answer_gets_an_error_line_and_the_rest_is_answered(bench, value, code):
    np.save(bench.folder / "2.npy", value)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(5)
    errors = [x for x in bench.sink.lines if isinstance(x, Unanswered)]
    assert [(x.seq, x.error.partition(":")[0]) for x in errors] == [(2, code)]


def test_engine_that_throws_what_nobody_expects_does_not_end_the_pipeline(bench):
    broken = Scripted()
    broken.error = MemoryError("no room")
    bench.serve("v1", broken)
    bench.pipeline.start()
    bench.wait_lines(5)
    assert {x.error for x in bench.sink.lines} == {"Internal: MemoryError"}
    assert len(bench.failed_inputs) == 5


def test_input_on_which_two_models_hang_is_given_up(bench):
    for version in ("v1", "v2"):
        hanging = Scripted()
        hanging.gate.clear()
        assert bench.serve(version, hanging) is (version == "v2")
        bench.pipeline.start()
        hanging.entered.wait(5)
        until(lambda: bench.hot.stuck() is not None, "hang is noticed")
    assert bench.serve("v3")
    bench.pipeline.start()
    bench.wait_lines(5)
    assert [(x.seq, isinstance(x, Unanswered)) for x in bench.sink.lines] == [(n, n == 0) for n in range(5)]
    assert bench.sink.lines[0].error.startswith("Timeout")


def test_full_disk_costs_lines_but_not_the_pipeline(tmp_path, bench):
    bench = Bench(tmp_path, loop=True, rate_hz=500)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(3)
    bench.sink.full = True
    until(lambda: bench.sink.refused > 5, "answers are refused")
    bench.sink.full = False
    seen = len(bench.sink.lines)
    bench.wait_lines(seen + 5)
    bench.stop()
    numbers = [x.seq for x in bench.sink.lines]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(numbers) + bench.sink.refused - 1


def test_raw_tensors_are_written_by_name_and_large_ones_in_a_few_numbers(tmp_path):
    path = tmp_path / "answers.jsonl"
    scores, mask = np.array([[0.25, 0.75]], np.float32), np.full((1, 64, 64), 2, np.float32)
    answer = Answer("", None, [scores, mask], "faces-v1", "sha256:0", 1.5, names=("scores", "mask"))
    FileSink(Disk(), path).write(Answered(0, "a", answer, 1.0))
    line = json.loads(path.read_text())
    assert line["outputs"] == [
        {"name": "scores", "shape": [1, 2], "min": 0.25, "max": 0.75, "mean": 0.5, "values": [0.25, 0.75]},
        {"name": "mask", "shape": [1, 64, 64], "min": 2.0, "max": 2.0, "mean": 2.0, "values": None},
    ]
    assert (line["version"], line["latencyMs"]) == ("faces-v1", 1.5)
    assert not {"label", "confidence", "output"} & line.keys()
    assert len(path.read_bytes()) < 500


def test_line_that_a_full_disk_took_in_part_is_cut_off_again(tmp_path, monkeypatch):
    path = tmp_path / "answers.jsonl"
    sink = FileSink(Disk(), path)
    sink.write(Unanswered(0, "a", "why"))
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
    with pytest.raises(OSError, match="No space"):
        sink.write(Unanswered(1, "b", "why"))
    monkeypatch.undo()
    sink.write(Unanswered(2, "c", "why"))
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [0, 2]


@pytest.mark.parametrize("torn", [b'{"seq":1,"inp', b"\0" * 9000], ids=["half a line", "pages without content"])
def test_line_that_a_kill_tore_is_cut_off_by_the_next_run(tmp_path, torn):
    path = tmp_path / "answers.jsonl"
    sink = FileSink(Disk(), path)
    sink.write(Unanswered(0, "a", "why"))
    sink.close()
    with path.open("ab") as file:
        file.write(torn)
    sink.write(Unanswered(1, "b", "why"))
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [0, 1]


def test_file_of_nothing_but_a_torn_line_begins_anew(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"seq":0')
    sink = FileSink(Disk(), path)
    sink.write(Unanswered(0, "a", "why"))
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [0]


def test_answers_go_on_in_a_new_file_when_theirs_is_rotated_or_removed(tmp_path):
    path = tmp_path / "answers.jsonl"
    sink = FileSink(Disk(), path)
    sink.write(Unanswered(0, "a", "why"))
    path.rename(tmp_path / "answers.1")
    sink.write(Unanswered(1, "b", "why"))
    path.unlink()
    sink.write(Unanswered(2, "c", "why"))
    sink.close()
    sink.write(Unanswered(3, "d", "why"))
    sink.close()
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [2, 3]
    assert json.loads((tmp_path / "answers.1").read_text())["seq"] == 0


def test_folder_that_vanishes_and_comes_back_is_read_again(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    for n in range(3):
        np.save(folder / f"{n}.npy", np.zeros(4, np.float32))
    bench = Bench(folder, loop=True, rate_hz=500)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(4)
    folder.rename(tmp_path / "away")
    until(lambda: bench.pipeline._pending is None and bench.pipeline._due is None, "it waits")
    (tmp_path / "away").rename(folder)
    seen = len(bench.sink.lines)
    bench.wait_lines(seen + 4)
    bench.stop()
    assert not [x for x in bench.sink.lines if isinstance(x, Unanswered) and "No such file" not in x.error]


def test_ticks_that_a_slow_model_misses_are_counted(tmp_path, bench):
    class Clock:
        now = 100.0

    class Slow(Scripted):
        def infer(self, inputs):
            Clock.now += 0.35  # three and a half periods
            return super().infer(inputs)

    bench = Bench(tmp_path, rate_hz=10, clock=lambda: Clock.now)
    bench.serve("v1", Slow())
    bench.pipeline.start()
    bench.wait_lines(5)
    bench.stop()
    # Due at 0, answered at .35; the tick at .3 is taken late, .1 and .2 are missed; and so on.
    assert sum(bench.missed) + len(bench.sink.lines) == int(4 * 0.35 / 0.1) + 1


def test_time_without_a_model_or_an_input_counts_as_no_missed_tick(tmp_path, bench):
    bench = Bench(tmp_path, loop=True, rate_hz=20)
    bench.serve("v1")
    bench.pipeline.start()
    bench.wait_lines(2)
    bench.hot.empty()
    until(lambda: bench.pipeline._due is None, "it waits for a model")
    bench.serve("v2")
    seen = len(bench.sink.lines)
    bench.wait_lines(seen + 2)
    bench.stop()
    assert sum(bench.missed) <= 1  # a busy machine may miss one


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
    assert [(x.seq, x.input, x.answer.version) for x in bench.sink.lines] == [(n, f"{n}.npy", "v2") for n in range(5)]


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

"""Mutants of good files at every place that looks at them without TensorFlow: a refusal in one sentence, or nothing.

Thousands more, through whole conversions: `python -m tests.faults malformed-sources`.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.containment import check_keras_file
from litefleet_controller.convert.opening.savedmodel import check_graph, unpack
from litefleet_controller.convert.samples.datasets import load_calibration, load_evaluation
from litefleet_controller.convert.samples.decode import decode
from litefleet_controller.convert.workers.tasks import Decode, RungError
from litefleet_controller.fleet.errors import UploadRefusedError
from litefleet_controller.fleet.formats import HEAD_BYTES, check_archive, check_head
from litefleet_protocol.tensors import Preprocess
from tests.faults import images
from tests.faults.mutating_sources import mutant

DATA = Path(__file__).parents[2] / "faults" / "data"
COUNT = 100


def sets(path: Path, _: Path) -> None:
    load_calibration(str(path), 100, Preprocess(), (1, 8, 8, 1))
    load_evaluation(str(path), Preprocess(), (1, 8, 8, 1), 3)


def pictures(path: Path, folder: Path) -> None:
    decode(
        Decode(
            folder=str(folder), archive=str(path), preprocess=Preprocess(resize=(8, 8), channels=1), labels=("a", "b", "c"), samples=12
        ),
        lambda *_: None,
    )  # fmt: skip


LOOKS: dict[str, Callable[[Path, Path], object]] = {
    "small.keras": lambda path, _: check_keras_file(path),
    "small.zip": lambda path, folder: check_graph(unpack(path, folder)),
    "small.npz": sets,
    "images.zip": pictures,
    "images.tar": pictures,
}


def good(name: str) -> bytes:
    return (
        images.as_zip()
        if name == "images.zip"
        else images.as_tar()
        if name == "images.tar"
        else (DATA / name).read_bytes()
    )


@pytest.mark.parametrize("name", LOOKS)
def test_every_mutant_is_refused_in_one_sentence_or_passes(name: str, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(good(name))
    (tmp_path / "unpacked").mkdir()
    LOOKS[name](tmp_path / "good", tmp_path / "unpacked")
    refused = 0
    for number in range(COUNT):
        what, data = mutant(good(name), random.Random(f"{name}/{number}"))
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        folder = tmp_path / f"{number}-unpacked"
        folder.mkdir()
        try:
            LOOKS[name](path, folder)
        except (ConversionError, RungError) as e:
            refused += 1
            assert "\n" not in str(e), (number, what)
        except Exception as e:  # noqa: BLE001 - says which mutant it was
            pytest.fail(f"mutant {number} ({what}): {type(e).__name__}: {e}")
    assert COUNT // 4 < refused < COUNT


@pytest.mark.parametrize("name", LOOKS)
def test_every_mutant_gets_an_answer_at_the_door(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for number in range(COUNT):
        what, data = mutant(good(name), random.Random(f"{name}/{number}"))
        path.write_bytes(data)
        try:
            check_head(name, data[:HEAD_BYTES])
            check_archive(name, path)
        except UploadRefusedError as e:
            assert "\n" not in str(e), (number, what)
        except Exception as e:  # noqa: BLE001
            pytest.fail(f"mutant {number} ({what}): {type(e).__name__}: {e}")

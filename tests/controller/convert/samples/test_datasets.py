"""Data sets that somebody uploaded: used as they are, or refused with what is wrong."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.samples.datasets import MAX_EVALUATED, load_calibration, load_evaluation
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_protocol.tensors import Preprocess

SHAPE = (1, 8, 8, 1)
X, Y = np.ones((6, 8, 8), np.float32), np.arange(6)


def saved(folder: Path, **arrays: object) -> str:
    np.savez(folder / "set.npz", **arrays)
    return str(folder / "set.npz")


def raw(folder: Path, data: bytes) -> str:
    (folder / "set.npz").write_bytes(data)
    return str(folder / "set.npz")


def test_an_evaluation_set_is_inputs_and_classes(tmp_path: Path) -> None:
    loaded = load_evaluation(saved(tmp_path, x=X, y=Y), Preprocess(scale=2), SHAPE, 10)
    assert loaded.x.shape == (6, 8, 8, 1)
    assert loaded.x.max() == 2
    assert loaded.y.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_large_evaluation_set_is_cut(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.zeros((MAX_EVALUATED + 5, 3)), y=np.zeros(MAX_EVALUATED + 5))
    assert len(load_evaluation(path, Preprocess(), (1, 3), 2).x) == MAX_EVALUATED


def test_calibration_uses_the_first_samples(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32)[:, None, None] * X
    assert load_calibration(saved(tmp_path, x=x), 2, Preprocess(), SHAPE)[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": X}, "no array 'y'; it has x"),
        ({"x": X, "y": Y[:5]}, r"x has the shape \(6, 8, 8\), y has \(5,\)"),
        ({"x": X, "y": np.eye(6)}, r"y has \(6, 6\)"),
        ({"x": X, "y": Y + 5}, "classes 5 to 10, and the model knows 0 to 9"),
        ({"x": X, "y": Y - 1}, "classes -1 to 4"),
        ({"x": X, "y": Y + 0.5}, "class numbers"),
        ({"x": X, "y": np.full(6, np.nan)}, "class numbers"),
        ({"x": X, "y": np.array(list("abcdef"))}, "it holds <U1"),
        ({"x": X[:0], "y": Y[:0]}, r"x is empty: its shape is \(0, 8, 8\)"),
        ({"x": X[:, :7], "y": Y}, r"\(6, 7, 8\), and the model takes \(N, 8, 8, 1\)"),
        ({"x": X * np.nan, "y": Y}, "6 of 6 samples hold NaN or infinity"),
        ({"x": X * np.inf, "y": Y}, "6 of 6 samples hold NaN or infinity"),
    ],
)
def test_a_bad_evaluation_set_costs_the_request(tmp_path: Path, arrays: dict[str, object], says: str) -> None:
    with pytest.raises(ConversionError, match=says) as refused:
        load_evaluation(saved(tmp_path, **arrays), Preprocess(), SHAPE, 10)
    assert (refused.value.code, refused.value.final) == ("EvaluationInvalid", True)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": Y}, "no array 'x'; it has y"),
        ({"x": X[:0]}, "is empty"),
        ({"x": np.array(1.0)}, "is empty"),
        ({"x": X[:, :7]}, r"\(6, 7, 8\), and the model takes \(N, 8, 8, 1\)"),
        ({"x": X * np.nan}, "6 of 6 samples"),
        ({"x": X.astype(complex)}, "it holds complex128"),
    ],
)
def test_a_bad_calibration_set_costs_the_rung(tmp_path: Path, arrays: dict[str, object], says: str) -> None:
    with pytest.raises(RungError, match=says) as refused:
        load_calibration(saved(tmp_path, **arrays), 100, Preprocess(), SHAPE)
    assert refused.value.code == "CalibrationInvalid"


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    with pytest.raises(RungError, match="plain arrays"):
        load_calibration(saved(tmp_path, x=np.array([Bomb()], dtype=object)), 1, Preprocess(), SHAPE)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"PK\x03\x04 and no more", b"\x93NUMPY", pickle.dumps(Bomb()), b"\x89HDF\r\n\x1a\n"]
)
def test_what_is_no_npz_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(RungError) as refused:
        load_calibration(raw(tmp_path, data), 1, Preprocess(), SHAPE)
    assert refused.value.code == "CalibrationInvalid"


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path, x=X)).read_bytes()
    for cut in range(0, len(whole), 97):
        with pytest.raises(RungError):
            load_calibration(raw(tmp_path, whole[:cut]), 1, Preprocess(), SHAPE)


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        for _ in range(64):
            member.write(bytes(1024 * 1024))
    with pytest.raises(RungError, match="zip bomb"):
        load_calibration(str(path), 1, Preprocess(), SHAPE)

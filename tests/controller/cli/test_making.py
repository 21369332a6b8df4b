"""`litefleet model new` and `train` as a person uses them; no controller is needed for them."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from litefleet_controller.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit code, stdout and stderr of a command."""

    def command(*arguments: object) -> tuple[int, str, str]:
        try:
            main([str(a) for a in arguments])
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.mark.tensorflow
def test_a_new_network_is_written_with_what_to_do_next(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "m.keras"
    code, said, beside = run("model", "new", "squeezenet", "--classes", 10, "--input", "28x28x1", "--out", out)
    assert code == 0, beside
    assert out.stat().st_size > 2_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]
    assert "726,474 parameters" in said
    assert "28x28 pixels in grey of 0 to 255" in said
    assert "loading TensorFlow ..." in beside
    assert "1 of its halvings left out" in beside
    assert f"next: litefleet model train {out} " in beside


def test_the_list_names_every_architecture(run: Run) -> None:
    code, said, _ = run("model", "new", "--list")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()[1:]] == [
        "mobilenet-v2", "mobilenet-v3-small", "squeezenet", "shufflenet-v2", "efficientnet-b0", "efficientnet-lite0",
    ]  # fmt: skip


GOOD = ("squeezenet", "--classes", 10, "--out", "m.keras")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "litefleet model new --list"),
        (("squeezenet",), 2, "--classes"),
        (("resnet50", *GOOD[1:]), 1, "there is no architecture 'resnet50'"),
        ((*GOOD, "--input", "big"), 1, "--input 'big' isn't height x width"),
        ((*GOOD, "--input", "28x28x2"), 1, "channels 1 (grey) or 3 (RGB)"),
        ((*GOOD, "--input", "2x2"), 1, "8 to 4096 pixels"),
        ((*GOOD, "--width", "0.5"), 1, "squeezenet has no width 0.5"),
        ((*GOOD, "--classes", 1), 1, "1 classes can't be told apart"),
        ((*GOOD, "--out", "m.h5"), 1, "must end in .keras"),
        ((*GOOD, "--out", "there/m.keras"), 1, "no folder 'there'"),
        ((*GOOD, "--out", "old.keras"), 1, "'old.keras' is there already (AlreadyExists); --force replaces it"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.keras").write_bytes(b"precious")
    got, said, error = run("model", "new", *arguments)
    assert (got, said) == (code, "")
    assert says in error
    assert "\n" not in error.rstrip("\n")
    assert Path("old.keras").read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["old.keras"]


def pictures(folder: Path, images: int = 12, size: int = 12) -> Path:
    """Two classes that anything can tell apart."""
    for name, value in (("dark", 10), ("light", 240)):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            Image.new("L", (size, size), value + number % 5).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.tensorflow
def test_training_on_a_folder_writes_the_best_and_what_a_model_needs_beside_it(run: Run, tmp_path: Path) -> None:
    model, out, sets = tmp_path / "m.keras", tmp_path / "t.keras", tmp_path / "sets"
    sets.mkdir()
    assert run("model", "new", "squeezenet", "--classes", 2, "--input", "8x8x1", "--out", model)[0] == 0
    code, said, beside = run(
        "model", "train", model, "--data", pictures(tmp_path / "data"), "--out", out, "--sets", sets,
        "--epochs", 1, "--batch", 8,
    )  # fmt: skip
    assert code == 0, beside
    assert out.stat().st_size > 1_000_000
    assert "of 2 held-out images right, after epoch 1 of 1 on 22" in said
    assert '  input: {preprocess: {"resize": [8, 8], "channels": 1}}' in said
    assert '  output: {"labels": ["dark", "light"]}' in said
    assert yaml.safe_load("\n".join(said.splitlines()[1:]))["output"]["labels"] == ["dark", "light"]
    assert "decoding 24 images ..." in beside
    assert "epoch 1 of 1: loss " in beside
    assert f"next: litefleet model push {out}" in beside
    with np.load(sets / "evaluation.npz") as held_out:
        assert (held_out["x"].shape, sorted(held_out["y"])) == ((2, 8, 8, 1), [0, 1])
    with np.load(sets / "calibration.npz") as shown:
        assert len(shown["x"]) == 22


TRAIN = ("m.keras", "--data", "data.npz", "--out", "t.keras")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("m.keras",), 2, "Missing option '--data'"),
        (("gone.keras", *TRAIN[1:]), 1, "there is no 'gone.keras' (NotFound)"),
        ((*TRAIN, "--data", "gone"), 1, "there is no 'gone' (NotFound)"),
        (("data.npz", *TRAIN[1:]), 1, "'data.npz' is no .keras file (FormatMismatch)"),
        ((*TRAIN, "--data", "m.keras"), 1, "is neither a folder nor an .npz file"),
        ((*TRAIN, "--out", "m.keras"), 1, "'m.keras' is there already (AlreadyExists); --force replaces it"),
        ((*TRAIN, "--sets", "nowhere"), 1, "there is no folder 'nowhere' (NotFound)"),
        ((*TRAIN, "--validation", 0.9), 1, "--validation 0.9: must be above 0 and at most 0.5"),
        ((*TRAIN, "--learning-rate", "nan"), 1, "--learning-rate nan: must be above 0"),
        ((*TRAIN, "--epochs", 0), 2, "--epochs"),
    ],
)
def test_training_that_cannot_begin_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.keras", "data.npz"):
        Path(name).write_bytes(b"precious")
    got, said, error = run("model", "train", *arguments)
    assert (got, said) == (code, "")
    assert says in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npz", "m.keras"]


OLD = Path(__file__).parents[1] / "convert" / "old" / "keras-2.h5"


@pytest.mark.tensorflow
def test_an_old_h5_file_becomes_a_keras_file_that_says_what_it_lost(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "m.keras"
    code, said, beside = run("model", "import-h5", OLD, "--out", out)
    assert code == 0, beside
    assert zipfile.is_zipfile(out)
    assert "from Keras 2.21.0; takes float32 (8, 8, 1), gives float32 (3)" in said
    assert "lost: the optimizer's state" in beside
    assert f"next: litefleet model push {out}" in beside


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("gone.h5", 1, "there is no file 'gone.h5' (NotFound)"),
        ("empty.h5", 1, "the file is empty (0 bytes) (Empty)"),
        ("model.keras", 1, "a .keras file needs no import"),
    ],
)
def test_what_is_no_h5_file_is_not_imported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.h5").touch()
    Path("model.keras").write_bytes(b"PK\x03\x04 a zip")
    got, said, error = run("model", "import-h5", file, "--out", "m.keras")
    assert (got, said) == (code, "")
    assert says in error
    assert not Path("m.keras").exists()


def test_a_source_that_is_none_is_refused_by_the_worker_in_a_line(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "m.keras"
    model.write_bytes(b"PK\x03\x04 but no more")
    code, said, error = run("model", "train", model, "--data", tmp_path, "--out", tmp_path / "t.keras")
    assert (code, said) == (1, "")
    assert error.splitlines()[-1].startswith("error: the source is a damaged zip archive")

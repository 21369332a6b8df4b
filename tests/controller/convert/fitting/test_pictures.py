"""Folders of images: real files, real decoders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from litefleet_controller.convert.fitting import pictures
from litefleet_controller.convert.fitting.pictures import PictureExamples, class_folders
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.samples import picture
from litefleet_protocol.tensors import Preprocess

SPEC = Preprocess(resize=(8, 6), channels=3, scale=0.5)


def draw(file: Path, value: int, mode: str = "RGB", size: tuple[int, int] = (6, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "dog" / "2.png", 20)
    draw(tmp_path / "dog" / "1.png", 10)
    draw(tmp_path / "cat" / "big.jpeg", 200, size=(60, 80))
    draw(tmp_path / "cat" / "deep" / "grey.BMP", 90, mode="L")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / "._big.jpeg").write_bytes(b"an archiver's leftover")
    return tmp_path


def read(folder: Path, classes: int = 2, shape: tuple[int, ...] = (1, 8, 6, 3)) -> PictureExamples:
    return PictureExamples(folder, SPEC, shape, classes, lambda _, __: None)


def refusal(read_it: Callable[[], object]) -> ConversionError:
    with pytest.raises(ConversionError) as refused:
        read_it()
    assert (refused.value.code, refused.value.final) == ("TrainingInvalid", True)
    assert "\n" not in str(refused.value)
    return refused.value


def test_class_folders_are_numbered_in_order_of_their_names(folder: Path) -> None:
    examples = read(folder)
    assert examples.labels == ("cat", "dog")
    assert list(examples.y) == [0, 0, 1, 1]


def test_images_come_in_the_models_size_and_colours_as_boards_prepare_them(folder: Path) -> None:
    examples = read(folder)
    raw, batch = examples.raw([0, 1, 2]), examples.batch([0, 1, 2])
    assert (raw.dtype, raw.shape) == (np.uint8, (3, 8, 6, 3))
    assert (batch.dtype, batch.shape) == (np.float32, (3, 8, 6, 3))
    assert [int(np.median(image)) for image in raw] == [200, 90, 10]
    assert np.array_equal(batch, raw * np.float32(0.5))


def test_images_that_do_not_fit_into_memory_are_decoded_when_they_are_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = read(folder).raw([0, 1, 2, 3])
    monkeypatch.setattr(pictures, "MAX_KEPT_BYTES", 10)
    assert np.array_equal(read(folder).raw([0, 1, 2, 3]), kept)


def test_broken_images_are_all_counted_and_the_first_ones_named(folder: Path) -> None:
    (folder / "cat" / "cut.jpeg").write_bytes((folder / "cat" / "big.jpeg").read_bytes()[:200])
    for number in range(4):
        (folder / "dog" / f"not{number}.png").write_bytes(b"hello")
    error = refusal(lambda: read(folder))
    assert "5 of 9 images can't be decoded (cat/cut.jpeg: " in str(error)
    assert "dog/not0.png: cannot identify image file" in str(error)
    assert str(error).endswith(", and 2 more)")


def test_an_image_that_claims_to_be_larger_than_memory_is_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
    assert "cat/big.jpeg: 60x80 pixels are more than 1000" in str(refusal(lambda: read(folder)))


def test_another_number_of_classes_is_refused_with_both_numbers(folder: Path) -> None:
    error = refusal(lambda: read(folder, classes=10))
    assert "has 2 class folders (cat, dog), and the model tells 10 classes apart" in str(error)
    assert error.hint == "build one with --classes 2"


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 3)
    error = refusal(lambda: class_folders(tmp_path))
    assert "has no class folders with images" in str(error)
    assert "put the images of each class" in error.hint


def test_an_image_beside_the_class_folders_is_refused_by_name(folder: Path) -> None:
    draw(folder / "stray.png", 3)
    assert "'stray.png' lies in no class folder" in str(refusal(lambda: class_folders(folder)))


def test_an_empty_class_folder_is_refused_by_name(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "the class folder 'empty' has no images" in str(refusal(lambda: class_folders(folder)))


def test_a_model_that_takes_no_images_is_refused(folder: Path) -> None:
    assert "inputs of the shape (64,), which are no images" in str(refusal(lambda: read(folder, shape=(1, 64))))

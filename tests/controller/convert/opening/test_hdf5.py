"""Old `.h5` files that must not be opened by Keras: real HDF5 files, each with one thing wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.hdf5 import check_h5_file

OLD = (Path(__file__).parents[1] / "old") / "keras-2.h5"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "old.h5"
    path.write_bytes(OLD.read_bytes())
    return path


def test_a_plain_file_passes_and_says_who_wrote_it(copy: Path) -> None:
    assert check_h5_file(copy)["keras_version"] == "2.21.0"
    assert check_h5_file(copy)["optimizer_weights"] is True


def with_layer(content: h5py.File, **changes: object) -> None:
    config = json.loads(content.attrs["model_config"])
    config["config"]["layers"][3].update(changes)
    content.attrs["model_config"] = json.dumps(config)


def external(content: h5py.File) -> None:
    content["model_weights"].create_dataset("x", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(content: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/elsewhere.h5", "x", (4,))
    content["model_weights"].create_virtual_dataset("x", layout)


def bomb(content: h5py.File) -> None:
    content["model_weights"].create_dataset("x", (2**28,), "f8", chunks=(2**16,), compression="gzip")


def circle(content: h5py.File) -> None:
    content["model_weights"]["again"] = content["/"]


def link(kind: Callable[..., Any], *where: str) -> Callable[[h5py.File], None]:
    def add(content: h5py.File) -> None:
        content["model_weights"]["x"] = kind(*where)

    return add


def without_config(content: h5py.File) -> None:
    del content.attrs["model_config"]


def weightless(content: h5py.File) -> None:
    without_config(content)
    del content["model_weights"]


def set_config(value: str) -> Callable[[h5py.File], None]:
    def change(content: h5py.File) -> None:
        content.attrs["model_config"] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda c: with_layer(c, class_name="Lambda"), "UnsafeLayer", "is a Lambda, which carries code"),
        (lambda c: with_layer(c, module="os", class_name="system"), "UnsafeLayer", "comes from os.system"),
        (lambda c: with_layer(c, registered_name="Shop>Special"), "UnsafeLayer", "the custom class 'Shop>Special'"),
        (link(h5py.ExternalLink, "/etc/secret.h5", "/x"), "ArchiveUnsafe", "a link to another place or file"),
        (link(h5py.SoftLink, "/model_weights"), "ArchiveUnsafe", "a link to another place or file"),
        (external, "ArchiveUnsafe", "'/model_weights/x' takes its data from another file"),
        (virtual, "ArchiveUnsafe", "takes its data from another file"),
        (bomb, "ArchiveUnsafe", "claim to hold 2147"),
        (without_config, "FormatUnsupported", "weights and no architecture"),
        (weightless, "FormatMismatch", "no Keras model: it has no model_config"),
        (set_config("{"), "FormatMismatch", "model_config isn't JSON"),
        (set_config("[" * 30_000), "FormatMismatch", "model_config isn't JSON"),
        (set_config("[]"), "FormatMismatch", "doesn't describe a model"),
    ],
)
def test_a_file_that_keras_must_not_open_is_refused(
    copy: Path, spoil: Callable[[h5py.File], None], code: str, says: str
) -> None:
    with h5py.File(copy, "r+") as content:
        spoil(content)
    refused = refusal(copy)
    assert refused.code == code
    assert says in str(refused)


def test_groups_in_a_circle_are_looked_at_once(copy: Path) -> None:
    with h5py.File(copy, "r+") as content:
        circle(content)
    assert check_h5_file(copy)["keras_version"] == "2.21.0"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "Empty"), (b"PK\x03\x04 a zip", "FormatMismatch"), (OLD.read_bytes()[:2000], "FormatMismatch")],
)
def test_what_is_no_whole_hdf5_file_is_refused(copy: Path, data: bytes, code: str) -> None:
    copy.write_bytes(data)
    assert refusal(copy).code == code


def test_a_name_that_is_no_text_is_damage(copy: Path) -> None:
    copy.write_bytes(OLD.read_bytes().replace(b"moving_mean", b"moving_\xff\xfean"))
    assert refusal(copy).code == "FormatMismatch"


def refusal(path: Path) -> ConversionError:
    with pytest.raises(ConversionError) as refused:
        check_h5_file(path)
    assert refused.value.final
    assert "\n" not in str(refused.value)
    return refused.value

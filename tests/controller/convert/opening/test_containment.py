"""What a `.keras` file must be before Keras opens it. No tensorflow here: that is the point."""

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.containment import check_keras_file

MODEL = {
    "module": "keras.src.models.functional",
    "class_name": "Functional",
    "config": {
        "layers": [
            {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense"}, "registered_name": None}
        ]
    },
    "registered_name": "Functional",
}


def layer(**fields: Any) -> dict[str, Any]:
    return {
        **MODEL,
        "config": {"layers": [{"class_name": "Dense", "module": "keras.layers", "config": {"name": "odd"}, **fields}]},
    }


def archive(config: object = MODEL, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        members.writestr("metadata.json", "{}")
        members.writestr("model.weights.h5", bytes(4096))
        for name, data in more.items():
            members.writestr(name, data)
    return file.getvalue()


def refusal(folder: Path, data: bytes) -> ConversionError:
    path = folder / "source"
    path.write_bytes(data)
    with pytest.raises(ConversionError) as refused:
        check_keras_file(path)
    assert refused.value.final
    assert "tensorflow" not in sys.modules
    return refused.value


def test_a_plain_keras_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(archive())
    check_keras_file(path)


def test_assets_pass(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(archive(**{"assets/vocabulary.txt": b"a"}))
    check_keras_file(path)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "Empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden"),
        (pickle.dumps({"weights": 1}), "FormatForbidden"),
        (b"TFL3" + bytes(100), "FormatMismatch"),
        (b"P", "FormatMismatch"),
        (archive()[:300], "FormatMismatch"),
        (archive(b"{"), "FormatMismatch"),
        (archive([1, 2]), "FormatMismatch"),
        (archive(b"[" * 100_000), "FormatMismatch"),
        (archive(**{"../evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"assets/../../evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"/etc/evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"C:\\evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"payload.pkl": b"x"}), "ArchiveUnsafe"),
        (archive(**{f"assets/{i}": b"x" for i in range(100)}), "ArchiveUnsafe"),
        (archive(layer(class_name="Lambda")), "UnsafeLayer"),
        (archive(layer(class_name="TFSMLayer")), "UnsafeLayer"),
        (archive(layer(activation={"class_name": "__lambda__", "config": {"value": "4w=="}})), "UnsafeLayer"),
        (archive(layer(module="os", class_name="system")), "UnsafeLayer"),
        (archive(layer(module="kerasevil.layers")), "UnsafeLayer"),
        (archive(layer(module=None, registered_name="Shop>Special")), "UnsafeLayer"),
    ],
)
def test_what_must_not_reach_keras_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    assert refusal(tmp_path, data).code == code


def test_an_h5_file_is_refused_with_the_way_in(tmp_path: Path) -> None:
    assert "litefleet model import-h5" in refusal(tmp_path, b"\x89HDF\r\n\x1a\n").hint


def test_the_unsafe_layer_is_named(tmp_path: Path) -> None:
    assert "'odd' is a Lambda" in str(refusal(tmp_path, archive(layer(class_name="Lambda"))))


def test_a_zip_bomb_is_refused_with_its_numbers(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("config.json", json.dumps(MODEL))
        members.writestr("metadata.json", "{}")
        members.writestr("model.weights.h5", bytes(64 * 1024 * 1024))
    refused = refusal(tmp_path, file.getvalue())
    assert refused.code == "ArchiveUnsafe"
    assert str(64 * 1024 * 1024) in str(refused).replace(",", "") or "zip bomb" in str(refused)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as members:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = 0o120777 << 16
        members.writestr(link, "/etc/passwd")
    assert "symbolic link" in str(refusal(tmp_path, file.getvalue()))


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive())
    # Bit 0 of the general purpose flags, in the local header and in the central directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(tmp_path, bytes(data)).code == "FormatMismatch"


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as members, pytest.warns(UserWarning, match="Duplicate name"):
        members.writestr("config.json", json.dumps(layer(class_name="Lambda")))
    assert refusal(tmp_path, file.getvalue()).code == "ArchiveUnsafe"


@pytest.mark.parametrize("name", [{}, [], 7, True])
def test_an_object_whose_class_is_no_name_is_refused(tmp_path: Path, name: object) -> None:
    assert refusal(tmp_path, archive(layer(class_name=name))).code == "FormatMismatch"


def test_a_compressed_member_that_is_damaged_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            members.writestr(name, json.dumps(MODEL))
    data = bytearray(file.getvalue())
    at = data.index(b"config.json") + len("config.json")
    data[at : at + 8] = b"\xff" * 8
    assert refusal(tmp_path, bytes(data)).code == "FormatMismatch"

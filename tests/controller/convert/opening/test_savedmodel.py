"""A packed SavedModel before TensorFlow sees it. No tensorflow here: that is the point."""

import io
import pickle
import sys
import zipfile
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.savedmodel import check_graph, unpack
from tests.controller.convert.opening.test_wire import field

GRAPH_DEF, NODE, LIBRARY, FUNCTION, NODE_DEF, OP, SIGNATURES, OBJECTS, OBJECT = 2, 1, 2, 1, 3, 2, 5, 7, 1


def graph(
    *ops: str, inside: tuple[str, ...] = (), signatures: tuple[str, ...] = ("serving_default",), thing: bytes = b""
) -> bytes:
    """A meta graph with operators in the graph and inside a function, signatures, and one object."""
    nodes = b"".join(field(NODE, field(OP, op.encode())) for op in ops)
    function = field(FUNCTION, b"".join(field(NODE_DEF, field(OP, op.encode())) for op in inside))
    named = b"".join(field(SIGNATURES, field(1, s.encode()) + field(2, b"")) for s in signatures)
    return field(GRAPH_DEF, nodes + field(LIBRARY, function)) + named + field(OBJECTS, field(OBJECT, thing))


def saved(*graphs: bytes) -> bytes:
    return b"\x08\x01" + b"".join(field(2, g) for g in graphs)


GOOD = saved(graph("Conv2D", "SaveV2", "RestoreV2", inside=("MatMul", "ReadVariableOp")))


def archive(content: bytes = GOOD, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as members:
        members.writestr("saved_model.pb", content)
        members.writestr("variables/variables.index", b"i")
        members.writestr("variables/variables.data-00000-of-00001", b"d")
        for name, data in more.items():
            members.writestr(name, data)
    return file.getvalue()


def opened(folder: Path, data: bytes, signature: str | None = None) -> str:
    path = folder / "source"
    path.write_bytes(data)
    return check_graph(unpack(path, folder), signature)


def refusal(folder: Path, data: bytes, signature: str | None = None) -> ConversionError:
    with pytest.raises(ConversionError) as refused:
        opened(folder, data, signature)
    assert refused.value.final
    assert "\n" not in str(refused.value)
    assert "tensorflow" not in sys.modules
    return refused.value


def test_a_plain_saved_model_is_unpacked_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(archive(**{"assets/words.txt": b"a"}))
    folder = unpack(tmp_path / "source", tmp_path)
    assert check_graph(folder) == "serving_default"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", "assets/words.txt",
    }  # fmt: skip


def test_entries_for_folders_do_no_harm(tmp_path: Path) -> None:
    assert opened(tmp_path, archive(**{"variables/": b"", "assets/": b""})) == "serving_default"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "Empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden"),
        (pickle.dumps({"weights": 1}), "FormatForbidden"),
        (b"TFL3" + bytes(100), "FormatMismatch"),
        (archive()[:300], "FormatMismatch"),
        (archive(b"\x0a\xff"), "FormatMismatch"),
        (archive(GOOD[:-3]), "FormatMismatch"),
        (archive(b""), "FormatUnsupported"),
        (archive(**{"../evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"assets/../../evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"/etc/evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"C:\\evil": b"x"}), "ArchiveUnsafe"),
        (archive(**{"saved_model.cpb": b"x"}), "ArchiveUnsafe"),
        (archive(**{"variables/evil.so": b"x"}), "ArchiveUnsafe"),
        (archive(**{f"assets/{i}": b"x" for i in range(100)}), "ArchiveUnsafe"),
        (archive(compression=zipfile.ZIP_DEFLATED, **{"assets/zeros": bytes(32 * 1024 * 1024)}), "ArchiveUnsafe"),
        (archive(saved(graph("ReadFile"))), "UnsafeOp"),
        (archive(saved(graph(inside=("WriteFile",)))), "UnsafeOp"),
        (archive(saved(graph(inside=("ImmutableConst",)))), "UnsafeOp"),
        (archive(saved(graph("PyFunc"))), "UnsafeOp"),
        (archive(saved(graph("PrintV2"))), "UnsafeOp"),
        (archive(saved(graph("OpOfSomebody"))), "UnsupportedOp"),
        (archive(saved(graph(thing=field(10, b"")))), "UnsafeOp"),
        (archive(saved(graph(thing=field(11, b"")))), "UnsafeOp"),
        (archive(saved(graph(), graph())), "FormatUnsupported"),
        (archive(saved(field(GRAPH_DEF, b""))), "FormatUnsupported"),
        (archive(saved(graph(signatures=()))), "SignatureMissing"),
        (archive(saved(graph(signatures=("a", "b")))), "SignatureMissing"),
    ],
)
def test_what_must_not_reach_tensorflow_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    assert refusal(tmp_path, data).code == code


def test_an_operator_that_stands_in_a_second_graph_field_is_seen(tmp_path: Path) -> None:
    hidden = graph("Conv2D") + field(GRAPH_DEF, field(NODE, field(OP, b"ReadFile")))
    assert "ReadFile" in str(refusal(tmp_path, archive(saved(hidden))))


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as members:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = 0o120777 << 16
        members.writestr(link, "/etc/passwd")
    assert "symbolic link" in str(refusal(tmp_path, file.getvalue()))
    assert not (tmp_path / "saved-model").exists()


def test_a_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    data = archive(compression=zipfile.ZIP_DEFLATED, **{"assets/x": bytes(10_000)})
    # The size in the central directory, which is what is summed up.
    at = data.rindex(b"PK\x01\x02") + 24
    said = (5).to_bytes(4, "little")
    assert refusal(tmp_path, data[:at] + said + data[at + 4 :]).code == "FormatMismatch"
    assert (tmp_path / "saved-model" / "assets" / "x").stat().st_size <= 5


def test_the_only_signature_is_taken_whatever_its_name(tmp_path: Path) -> None:
    assert opened(tmp_path, archive(saved(graph(signatures=("classify", "__saved_model_init_op"))))) == "classify"


def test_of_several_signatures_the_default_is_taken(tmp_path: Path) -> None:
    assert opened(tmp_path, archive(saved(graph(signatures=("serve", "serving_default"))))) == "serving_default"


def test_the_signature_that_was_asked_for_is_taken(tmp_path: Path) -> None:
    several = archive(saved(graph(signatures=("score", "serving_default"))))
    assert opened(tmp_path, several, "score") == "score"


@pytest.mark.parametrize("wanted", ["other", "__saved_model_init_op"])
def test_a_signature_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, wanted: str) -> None:
    one = archive(saved(graph(signatures=("classify", "__saved_model_init_op"))))
    refused = refusal(tmp_path, one, wanted)
    assert refused.code == "SignatureMissing"
    assert str(refused) == f"the source has no signature {wanted!r}, and it has 'classify'"
    assert "spec.source.signature" in refused.hint


def test_signatures_that_are_ambiguous_are_named(tmp_path: Path) -> None:
    assert "'a', 'b'" in str(refusal(tmp_path, archive(saved(graph(signatures=("b", "a"))))))


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("read-file", "UnsafeOp", "ReadFile"),
        ("py-function", "UnsafeOp", "PyFunc"),
        ("table", "UnsafeOp", "HashTable"),
        ("two-signatures", "SignatureMissing", "'classify', 'score'"),
        ("no-signature", "SignatureMissing", "it has none"),
    ],
)
@pytest.mark.tensorflow
def test_what_tensorflow_itself_saved_is_looked_through(
    workshop, tmp_path: Path, name: str, code: str, says: str
) -> None:
    refused = refusal(tmp_path, workshop.read(f"{name}.zip"))
    assert refused.code == code
    assert says in str(refused)


@pytest.mark.parametrize("name", ["digits", "one-signature", "flex"])
@pytest.mark.tensorflow
def test_what_tensorflow_itself_saved_of_a_plain_model_passes(workshop, tmp_path: Path, name: str) -> None:
    assert opened(tmp_path, workshop.read(f"{name}.zip")) in {"serving_default", "classify"}


def test_a_member_that_lies_where_no_file_has_a_place_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive())
    directory = data.index(b"PK\x01\x02")
    data[directory + 42 : directory + 46] = b"\xff\xff\xff\xf0"  # the local header's offset
    assert refusal(tmp_path, bytes(data)).code in ("FormatMismatch", "ArchiveUnsafe")


def test_an_operators_name_is_shown_on_one_line(tmp_path: Path) -> None:
    assert r"operator '\nOdd\n'" in str(refusal(tmp_path, archive(saved(graph("\nOdd\n")))))

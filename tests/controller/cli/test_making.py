"""`litefleet model new` as a person uses it; no controller is needed for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

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

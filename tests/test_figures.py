"""The page of figures: what ran whole stays until it runs again."""

import json
from pathlib import Path

import pytest

from tests.figures import Book, Figure, Measure, Run, UnavailableError, main


def _swift(run: Run) -> list[Figure]:
    return [Figure("swiftness", 0.5, "s", 1, "<=", {"ours": 1, "theirs": 2}, run.seed, "one board")]


def _slow(run: Run) -> list[Figure]:
    return [Figure("slowness", 3, "s", 1, "<=", seed=run.seed)]


def _elsewhere(_run: Run) -> list[Figure]:
    raise UnavailableError("no namespaces here")


MEASURES: dict[str, Measure] = {"swift": _swift, "slow": _slow, "elsewhere": _elsewhere}


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book("tests.some", "Some", "Written by hand.", tmp_path / "some.md")


def _ran(book: Book, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["some", *arguments])
    main(book, MEASURES)


def test_each_measure_replaces_its_own_figures_only(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    _ran(book, monkeypatch, "--keep", "slow")
    _ran(book, monkeypatch, "--keep", "swift")
    _ran(book, monkeypatch, "--keep", "slow", "--seed", "7")
    lines = [json.loads(line) for line in book.lines.read_text("utf-8").splitlines()]
    assert [(line["measure"], line["seed"], line["met"]) for line in lines] == [("swift", 1, True), ("slow", 7, False)]
    page = book.page.read_text("utf-8")
    assert "1 of 2 goals are met. Missed: slowness (3 s, <= 1)." in page
    assert "| swiftness | 0.5 s | <= 1 | yes | ours 1, theirs 2; one board |" in page
    assert "| slowness | 3 s | <= 1 | **no** |  |" in page
    assert page.index("## swift") < page.index("## slow")
    assert "Again with `python -m tests.some slow`." in page


def test_nothing_is_kept_unless_it_is_asked_for(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    _ran(book, monkeypatch, "swift")
    assert not book.page.exists()


def test_a_sample_is_never_kept(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        _ran(book, monkeypatch, "--sample", "--keep", "swift")
    assert not book.page.exists()


def test_what_cant_be_measured_here_is_said_and_the_rest_goes_on(
    book: Book, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _ran(book, monkeypatch, "--keep", "elsewhere", "swift")
    assert "elsewhere can't be measured here: no namespaces here" in capsys.readouterr().err
    assert "## swift" in book.page.read_text("utf-8")

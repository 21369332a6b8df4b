"""Versions of what is installed are read once, and again after an upgrade."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from litefleet_controller.convert import distributions
from litefleet_controller.convert.distributions import installed_version


def install(site: Path, version: str) -> None:
    for old in site.glob("some_tool-*.dist-info/*"):
        old.unlink()
    for folder in site.glob("some_tool-*.dist-info"):
        folder.rmdir()
    folder = site / f"some_tool-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: some-tool\nVersion: {version}\n")


def test_an_upgrade_is_noticed_and_nothing_is_read_twice_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(distributions, "version", lambda name: reads.append(name) or importlib.metadata.version(name))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed_version("some-tool") is None
    install(tmp_path, "1.0")
    assert [installed_version("some-tool") for _ in range(3)] == ["1.0"] * 3
    install(tmp_path, "2.0")
    assert [installed_version("some-tool") for _ in range(3)] == ["2.0"] * 3
    assert len(reads) == 3

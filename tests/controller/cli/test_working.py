"""A command's own worker, interrupted or failing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.working import carry_out, put
from litefleet_controller.convert.workers.limits import WorkerLimits
from litefleet_controller.convert.workers.owntasks import Build, Built
from litefleet_controller.convert.workers.tasks import Stage


def build(folder: Path) -> Build:
    return Build(folder=str(folder), architecture="squeezenet", shape=(8, 8, 1), classes=2)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """As a terminal's programs are; a shell has those that it starts in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_saves_what_can_be_saved_and_leaves_nothing_behind(by: signal.Signals) -> None:
    saved: list[Path] = []

    def interrupt(_: Stage) -> None:
        os.kill(os.getpid(), by)

    def salvage(folder: Path) -> None:
        assert folder.is_dir()
        saved.append(folder)

    with pytest.raises(KeyboardInterrupt):
        carry_out(build, Built, interrupt, lambda _, __: None, WorkerLimits(), salvage=salvage)
    (folder,) = saved
    assert not folder.exists()
    assert not folder.parent.exists()


def test_a_refusal_is_a_commands_error(tmp_path: Path) -> None:
    def unknown(folder: Path) -> Build:
        return Build(folder=str(folder), architecture="resnet50", shape=(8, 8, 1), classes=2)

    with pytest.raises(CliError, match="there is no architecture 'resnet50'") as refused:
        carry_out(unknown, Built, lambda _: None, lambda _, __: None, WorkerLimits())
    assert refused.value.code == "InvalidArgument"


def test_what_a_worker_made_is_put_in_its_place_whole_and_links_are_not_followed(tmp_path: Path) -> None:
    made, out = tmp_path / "made", tmp_path / "out.keras"
    made.write_bytes(b"model")
    assert put(made, out) == 5
    assert out.read_bytes() == b"model"
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(CliError) as refused:
        put(tmp_path / "link", out)
    assert refused.value.code == "NotWritten"
    assert out.read_bytes() == b"model"

"""Real agents under the shim: they die where they are told to, and one that forgets to sync is found out."""

import functools
from contextlib import ExitStack, closing

import pytest

from tests.killing import trace
from tests.killing.building import build
from tests.killing.forkserver import ForkServer
from tests.killing.image import contents, last_report, saved
from tests.killing.judging import broken_promises
from tests.killing.lane import Lane
from tests.killing.powercut import Disk
from tests.killing.scenarios import SCENARIOS, expected
from tests.killing.trace import Point

INSTALL = next(s for s in SCENARIOS if s.name == "first install")
RENAMED = Point("rename", "state/state.json", 1)


@pytest.fixture(scope="module")
def lane_of(tmp_path_factory):
    """The lane of a program, over one fork server; each life begins from an image of its own."""
    folder = tmp_path_factory.mktemp("killing")
    built = build(folder)
    with ExitStack() as stack:
        server = stack.enter_context(closing(ForkServer(folder, built.shim, built.launcher)))

        @functools.cache
        def lane(*program: str) -> Lane:
            return stack.enter_context(closing(Lane(tmp_path_factory.mktemp("lane"), server, expected(), program)))

        yield lane


@pytest.fixture
def lane(lane_of):
    """The real agent's."""
    return lane_of("litefleet_agent.main")


def test_agent_dies_before_the_operation_and_no_later(lane, tmp_path):
    life = lane.live(INSTALL, lane.base(INSTALL), RENAMED)
    left = contents(lane.keep(tmp_path / "left"))
    assert life.killed
    assert life.operations[-2].name == "fsync"
    assert "state/.state.json.new" in left
    assert "state/state.json" not in left


def test_write_is_torn_where_the_point_says(lane, tmp_path):
    life = lane.live(INSTALL, lane.base(INSTALL), Point("write", "state/.state.json.new", 1, keep=7))
    left = contents(lane.keep(tmp_path / "left"))
    assert life.killed
    assert len(left["state/.state.json.new"]) == 7


def test_life_without_a_point_comes_to_where_it_must_and_its_trace_has_the_points(lane):
    life = lane.live(INSTALL, lane.base(INSTALL))
    assert life.converged
    assert not life.killed
    found = trace.points(life.operations, most=8)
    assert RENAMED in found
    assert {point.name for point in found} >= {"open", "write", "fsync", "rename", "mkdir"}


@pytest.mark.parametrize("forgotten", ["nothing", "directories", "files"])
def test_power_cut_finds_out_an_agent_that_forgets_to_sync(lane_of, tmp_path, forgotten):
    lane = lane_of("litefleet_agent.main") if forgotten == "nothing" else lane_of("tests.killing.forgetful", forgotten)
    base = lane.base(INSTALL)
    life = lane.live(INSTALL, base)
    told = last_report(lane.folder)
    assert life.converged, life.end
    disk = Disk(base)
    disk.replay(life.operations)
    disk.after_power_cut(tmp_path / "cut", None)
    assert bool(broken_promises(told, saved(tmp_path / "cut"))) is (forgotten != "nothing")


@pytest.mark.parametrize("unsynced", ["state", "state/artifacts"])
def test_power_cut_after_a_restart_takes_nothing_that_the_kill_before_left_unsynced(lane, tmp_path, unsynced):
    base = lane.base(INSTALL)
    points = trace.points(lane.live(INSTALL, base).operations, most=8)
    renamed = [point for point in points if (point.name, point.path) == ("open", unsynced)][-1]
    disk = Disk(base)
    killed = lane.live(INSTALL, base, renamed)
    assert killed.killed
    disk.replay(killed.operations)
    restarted = lane.live(INSTALL, lane.keep(tmp_path / "killed"))
    disk.replay(restarted.operations)
    told = last_report(lane.folder)
    disk.after_power_cut(tmp_path / "cut", None)
    assert broken_promises(told, saved(tmp_path / "cut")) == []
    assert any(path.endswith("/files/model.tflite") for path in contents(tmp_path / "cut"))

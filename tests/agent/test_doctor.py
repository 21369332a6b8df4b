"""The doctor: a healthy board, and boards on which one thing is wrong. Real broker, real agent, real artifacts."""

import datetime as dt
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from litefleet_agent import commands
from litefleet_agent.doctor import artifacts, broker, engines, ground, history, papers
from litefleet_agent.doctor.broker import connack_reason, connect_packet, suback_reason, subscribe_packet
from litefleet_agent.doctor.examine import examine
from litefleet_agent.doctor.finding import fail
from litefleet_agent.doctor.patient import Patient, running_on
from litefleet_agent.fileio import Disk
from litefleet_agent.identity import read
from litefleet_agent.journal import Journal, Moment, entries_in
from litefleet_agent.main import _parser
from litefleet_protocol.messages import AcceleratorFound, EngineFound

from .artifacts import Made, make_from
from .broker import until
from .world import DEVICE, World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def patient(world, **changes) -> Patient:
    values = {"wall": time.time(), "running": running_on(world.state_dir), "identity": read(Disk(), world.state_dir)}
    return Patient(world.state_dir, None, timeout_s=3.0, **(values | changes))


def statuses(findings):
    return [f.status for f in findings]


def settled(world):
    """A board that went from v1 to v2 and was stopped."""
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    v2 = make_from(world.key, "b.tflite", version="digits-v2")
    world.start()
    for made in (v1, v2):
        world.controller.publish(made)
        world.controller.assign(made)
        world.controller.wait_for("Updated", made.manifest.version)
    return v1, v2


def stopped(world):
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(10) == 0


def artifact(world, made):
    return world.state_dir / "artifacts" / made.digest.removeprefix("sha256:")


def snapshot(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def certified(world, ends_in):
    """The board with another certificate and its key."""
    certificate, key = world.authority.issue(DEVICE, ends_in=ends_in)
    (world.state_dir / "identity" / "certificate.pem").write_text(certificate)
    (world.state_dir / "identity" / "key.pem").write_text(key)


@dataclass
class Past:
    """What a board left behind that went from v1 to v2, refused v3, and was stopped."""

    state_dir: Path
    v1: Made
    v2: Made


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("lived"))
    try:
        v1, v2 = settled(world)
        broken = make_from(world.key, "b.tflite", version="digits-v3", golden_shift=1.0)
        world.controller.publish(broken)
        world.controller.assign(broken)
        world.controller.wait_for("Failed")
        stopped(world)
    finally:
        world.close()
    return Past(world.state_dir, v1, v2)


@pytest.fixture
def past(lived, tmp_path):
    """A copy of it."""
    return Past(shutil.copytree(lived.state_dir, tmp_path / "state"), lived.v1, lived.v2)


def test_a_healthy_board_is_well_running_or_not_and_nothing_of_it_is_touched(world):
    settled(world)
    running = world.run("doctor", "--config", str(world.folder / "agent.toml"))
    assert running.returncode == 0, running.stdout
    assert "fail" not in running.stdout
    assert "would cut the running agent off" in running.stdout
    assert world.process.poll() is None
    stopped(world)
    before = snapshot(world.state_dir)
    found = examine(world.state_dir, world.folder / "agent.toml", wall=time.time())
    assert snapshot(world.state_dir) == before
    assert {f.what for f in found if f.status != "ok"} == {"agent"}, found
    said = "\n".join(f.line() for f in found)
    for words in ("current digits-v2", "previous digits-v1", "takes this board", "LiteRT", "is good from", "none"):
        assert words in said
    done = world.run("doctor", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


def test_damaged_artifacts_are_found_and_weighed(past):
    for made in (past.v1, past.v2):
        path = artifact(past, made) / "files" / "model.tflite"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
    current, previous, *_ = artifacts.slots(patient(past))
    assert (current.status, previous.status) == ("fail", "warn")
    assert "model.tflite is damaged" in current.why
    (artifact(past, past.v2) / "manifest.dsse").unlink()
    assert "manifest is missing" in artifacts.slots(patient(past))[0].why
    given = _parser().parse_args(["doctor", "--state-dir", str(past.state_dir)])
    assert commands.run(given) == 1


def test_what_was_refused_is_told_with_its_code(past):
    (desired,) = [f for f in artifacts.slots(patient(past)) if "digits-v3" in f.why]
    assert desired.status == "warn"
    assert "failed here: GoldenMismatch" in desired.why
    assert any("refused" in f.why and "digits-v3" in f.why for f in history.history(patient(past)))


def test_a_broker_that_is_not_there(world):
    world.broker.kill()
    (finding,) = broker.broker(patient(world))
    assert finding.status == "fail"
    assert f"127.0.0.1:{world.broker.port} doesn't answer" in finding.why


def test_a_name_that_leads_nowhere(world):
    who = read(Disk(), world.state_dir)
    lost = type(who)(**{f: getattr(who, f) for f in who.__slots__} | {"broker_host": "nowhere.invalid"})
    (finding,) = broker.broker(patient(world, identity=lost))
    assert finding.status == "fail"
    assert "nowhere.invalid leads nowhere" in finding.why


def test_another_fleets_broker(world, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    other = World(tmp_path / "elsewhere")
    try:
        ca = world.state_dir / "identity" / "ca.pem"
        ca.write_text((other.folder / "ca.pem").read_text())
        (finding,) = broker.broker(patient(world))
    finally:
        other.close()
    assert finding.status == "fail"
    assert "doesn't prove to be the fleet's" in finding.why


def test_a_certificate_that_expired_is_found_by_its_dates_and_by_the_broker(world):
    certified(world, ends_in=-dt.timedelta(hours=1))
    found = [f for f in papers.papers(patient(world)) if f.what == "certificate"]
    assert statuses(found) == ["fail", "ok"]
    assert "the board's expired on" in found[0].why
    assert "enroll again" in found[0].todo
    (refused,) = broker.broker(patient(world))
    assert refused.status == "fail"
    assert "CERTIFICATE_EXPIRED" in refused.why


def test_a_certificate_that_soon_expires_is_a_warning(world):
    certified(world, ends_in=dt.timedelta(days=10))
    assert statuses(papers.papers(patient(world))) == ["ok", "warn", "ok"]


@pytest.mark.parametrize("wall", [12.0, 1_772_000_000.0, 2_872_000_000.0])
def test_a_certificate_without_an_end_is_good_by_any_clock(world, wall):
    end = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC).timestamp()
    finding = papers.dates("the board's", 0.0, end, patient(world, wall=wall))
    assert (finding.status, "no end" in finding.why) == ("ok", True)


def test_a_key_of_another_certificate(world):
    _, key = world.authority.issue(DEVICE)
    (world.state_dir / "identity" / "key.pem").write_text(key)
    found = papers.papers(patient(world))
    assert statuses(found) == ["fail"]
    assert "can't be used" in found[0].why


def test_a_key_that_others_may_read(world):
    (world.state_dir / "identity" / "key.pem").chmod(0o644)
    assert any("may read the private key" in f.why for f in papers.papers(patient(world)))


@pytest.mark.parametrize("wall", [12.0, 2_872_000_000.0])
def test_an_impossible_clock_is_a_warning_and_dates_are_not_judged(world, wall):
    assert statuses(ground.clock(patient(world, wall=wall))) == ["warn"]
    dates = [f for f in papers.papers(patient(world, wall=wall)) if f.what == "certificate"]
    assert statuses(dates) == ["warn", "warn"]


def test_a_clock_that_has_gone_back_behind_the_journal(world):
    now = time.time()
    journal = Journal(Disk(), world.state_dir / "journal", "boot")
    journal.append("info", "started", {}, Moment(now, 1.0, trusted=True))
    assert statuses(ground.clock(patient(world, wall=now))) == ["ok"]
    (finding,) = ground.clock(patient(world, wall=now - 3_600))
    assert "has gone back" in finding.todo


def test_a_board_that_was_never_enrolled(tmp_path):
    (tmp_path / "state").mkdir()
    found = examine(tmp_path / "state", None, wall=time.time())
    assert [f.what for f in found if f.status == "fail"] == ["identity"]
    assert "enroll" in found[0].todo


def test_a_folder_that_is_not_there(tmp_path):
    found = examine(tmp_path / "nowhere", None, wall=time.time())
    assert {f.what for f in found if f.status == "fail"} == {"identity", "state"}
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_enrollment_and_a_damaged_pointer_file(world):
    (world.state_dir / "identity" / "enrollment.json").write_bytes(b"{\x00")
    (world.state_dir / "state.json").write_bytes(b"{\x00")
    found = examine(world.state_dir, None, wall=time.time())
    assert {f.what for f in found if f.status == "fail"} == {"identity", "slots"}
    assert (world.state_dir / "state.json").exists()


def test_a_bad_configuration(world):
    config = world.folder / "bad.toml"
    config.write_text("[telemetry]\nwindow_secs = 1\n")
    (finding,) = ground.configuration(Patient(world.state_dir, config, time.time()))
    assert (finding.status, "telemetry.window_secs" in finding.why) == ("fail", True)


def test_inputs_that_are_not_there(world):
    (world.inputs).rename(world.folder / "moved")
    found = ground.configuration(Patient(world.state_dir, world.folder / "agent.toml", time.time()))
    assert statuses(found) == ["ok", "warn"]


def test_the_journal_tells_that_life(lived):
    """From its beginning to its end, each thing once and in order."""
    data = (lived.state_dir / "journal" / "00000001.jsonl").read_bytes()
    found = [(e.event, e.fields.get("version")) for e in entries_in(data)]
    life = ["fetch_begun", "fetched", "verified", "swapped", "probation_passed", "settled"]
    expected = [("started", None), *((e, v) for v in ("digits-v1", "digits-v2") for e in life)]
    expected += [("fetch_begun", "digits-v3"), ("refused", "digits-v3"), ("stopped", None)]
    rest = iter(found)
    assert all(step in rest for step in expected), found
    assert len([f for f in found if f[0] == "swapped"]) == 2


def test_leftovers_are_named(past):
    (past.state_dir / "artifacts" / ("f" * 64 + ".partial")).mkdir()
    (past.state_dir / ".state.json.new").write_text("")
    (past.state_dir / "state.damaged").write_text("")
    found = artifacts.slots(patient(past))[-1]
    assert found.status == "warn"
    for name in ("f" * 64, ".state.json.new", "state.damaged"):
        assert name in found.why


def test_little_room_is_told(world):
    class Small(Disk):
        def __init__(self, free):
            super().__init__()
            self.free = free

        def free_bytes(self, path):
            return self.free

    free = {1024**2: "fail", 16 * 1024**2: "warn", 1024**3: "ok"}
    found = {size: ground.state_directory(patient(world, disk=Small(size)))[0].status for size in free}
    assert found == free


def test_each_engine_gets_a_line_that_says_what_it_runs_on(world):
    found = engines.engines(patient(world))
    assert statuses(found) == ["ok"] * 3
    litert, openvino, onnx = (f.why for f in found)
    assert re.match(r"LiteRT [0-9.]+: cpu \(this board's processor, with XNNPACK\); no edgetpu \(", litert)
    assert "libedgetpu1-std" in litert
    assert re.match(r"OpenVINO [0-9.]+: CPU \(", openvino)
    assert re.match(r"ONNX Runtime [0-9.]+: CPUExecutionProvider", onnx)


MISSING = EngineFound(name="openvino", code="RuntimeMissing", message="pip install it")
BROKEN = EngineFound(name="openvino", code="RuntimeBroken", message="its process was killed by SIGILL, loading it")
NO_STICK = AcceleratorFound(name="GPU", code="AcceleratorFailed", message="no driver")
HALF = EngineFound(name="openvino", version="1", accelerators=(AcceleratorFound(name="CPU", description="x"), NO_STICK))


@pytest.mark.parametrize(
    ("engine", "is_needed", "wanted", "status", "words"),
    [
        (MISSING, False, "", "ok", "is not installed, and nothing here needs it"),
        (MISSING, True, "", "fail", "the board needs it: pip install it"),
        (BROKEN, False, "", "warn", "SIGILL"),
        (BROKEN, True, "", "fail", "SIGILL"),
        (HALF, True, "", "warn", "CPU (x); no GPU (no driver)"),
        (HALF, True, "CPU", "warn", "nothing uses it unasked"),
        (HALF, True, "GPU", "fail", "the configuration wants GPU: no driver"),
        (HALF, True, "NPU", "fail", "the configuration wants NPU: name one of these"),
    ],
)
def test_what_is_wrong_with_an_engine_matters_as_far_as_it_is_needed(engine, is_needed, wanted, status, words):
    finding = engines.judged(engine, is_needed=is_needed, wanted=wanted)
    assert finding.status == status
    assert words in finding.line()


def test_old_troubles_are_not_told_again(world):
    now = time.time()
    for boot, at in (("old", now - 5 * 86_400), ("new", now)):
        journal = Journal(Disk(), world.state_dir / "journal", boot)
        journal.append("warning" if boot == "old" else "info", "fetched", {}, Moment(at, 1.0, trusted=True))
    assert statuses(history.history(patient(world))) == ["ok"]


def test_the_running_agent_is_known_by_its_lock(world):
    assert running_on(world.state_dir) is None
    world.start()
    assert until(lambda: running_on(world.state_dir), "it holds the lock") == world.process.pid


def test_a_finding_is_one_printable_line():
    assert fail("slot\x1b", "a\nb\x1b[2J", "c").line().isprintable()


def test_mqtt_is_spoken_right():
    assert connect_packet("pi-1") == b"\x10\x11\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x04pi-1"
    assert connack_reason(b"\x20\x03\x00\x87\x00") == 0x87
    assert subscribe_packet("a/b") == b"\x82\x09\x00\x01\x00\x00\x03a/b\x01"
    assert suback_reason(b"\x90\x04\x00\x01\x00\x87") == 0x87
    assert suback_reason(b"") is None
    assert connack_reason(b"") is None
    assert connack_reason(b"HTTP/1.1") is None


def test_heavy_libraries_stay_out_of_the_doctors_process(world):
    code = (
        "import sys, time, pathlib; from litefleet_agent.doctor.examine import examine;"
        f"examine(pathlib.Path({str(world.state_dir)!r}), None, wall=time.time());"
        "print([n for n in ('ai_edge_litert', 'cryptography', 'numpy', 'openvino', 'onnxruntime') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_command_line_takes_it():
    given = _parser().parse_args(["doctor", "--state-dir", "/nowhere", "--json"])
    assert (given.command, given.json, given.config) == ("doctor", True, None)
    assert commands.run(given) == 1

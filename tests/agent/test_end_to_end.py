"""The real `litefleet-agent run` against a real broker with mutual TLS: update, swap, refusal, undo, kill, goodbye."""

import json
import signal
import sys

import numpy as np
import pytest

from litefleet_agent.embed import Agent
from litefleet_agent.outbox import OutboxLimits
from litefleet_protocol import codec, envelope, topics
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import Ack, Epoch, Presence, TelemetryWindow
from litefleet_protocol.tensors import Postprocess, Preprocess

from .artifacts import DATA, WIDE_SIGNATURE, Key, golden_for, make, make_from, npz
from .broker import until
from .world import DEVICE, Controller, World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()
    log = tmp_path / "agent.log"
    sys.stdout.write(log.read_text()[-6000:] if log.exists() else "")


def check_answers(lines, expected):
    """Every answer was given by exactly one version: its output is that version's for that input."""
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    for line in lines:
        assert "error" not in line, line
        wanted = expected[line["version"]][line["input"]]
        assert line["output"] == pytest.approx(wanted, abs=1e-5), line


def outputs_of(world, name):
    from litefleet_agent.runtime.litert import LiteRT

    from .artifacts import sha

    path = DATA / name
    model = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
    return {
        p.name: model.infer([np.load(p).reshape(1, 4)])[0].reshape(-1).tolist() for p in sorted(world.inputs.iterdir())
    }


def test_whole_life_of_a_board(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    v2 = make_from(world.key, "b.tflite", version="digits-v2")
    broken = make(
        world.key, (DATA / "wide-5-classes.tflite").read_bytes(), golden_for(DATA / "a.tflite"), version="digits-v3"
    )
    for made in (v1, v2, broken):
        controller.publish(made)
    controller.assign(v1)
    world.start()

    first = controller.wait_for("Updated", "digits-v1")
    assert first.capabilities.runtimes["litert"]
    found = until(lambda: controller.reports()[-1].capabilities.engines, "its engines are probed")
    assert {e.name: e.code for e in found} == {"litert": "", "openvino": "", "onnxruntime": ""}
    assert [a.name for a in found[0].accelerators] == ["cpu"], "what isn't there isn't reported"
    until(lambda: len(world.answers()) > 50, "answers of v1")

    controller.assign(v2)
    controller.wait_for("Updated", "digits-v2")
    controller.assign(broken)
    failed = controller.wait_for("Failed", "digits-v2")
    assert failed.slots["digits"].code == "BadShape"
    before = len(world.answers())
    until(lambda: len(world.answers()) > before + 20, "it keeps serving")

    controller.assign(v1)
    controller.wait_for("Updated", "digits-v1")
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(3) == 0
    check_answers(
        world.answers(),
        {"digits-v1": outputs_of(world, "a.tflite"), "digits-v2": outputs_of(world, "b.tflite")},
    )
    offline = until(
        lambda: [m for m in map(decode_presence, controller.client.received("/up/presence")) if not m.online],
        "goodbye",
    )
    assert offline


def log_model(key, version, x):
    """A model that takes the logarithm: finite golden samples, NaN for a negative live input."""
    golden = golden_for(DATA / "log-4.tflite", x=np.asarray(x, np.float32).reshape(-1, 4))
    raw = Postprocess(kind="none")
    return make(
        key,
        (DATA / "log-4.tflite").read_bytes(),
        golden,
        version=version,
        signature=WIDE_SIGNATURE,
        postprocess=raw,
        preprocess=Preprocess(offset=1.0),
    )


def test_board_that_meets_nan_in_probation_goes_back_by_itself(world):
    controller = world.controller
    good = log_model(world.key, "digits-v1", [[1, 1, 1, 1]])
    bad = make(
        world.key,
        (DATA / "log-4.tflite").read_bytes(),
        golden_for(DATA / "log-4.tflite", x=np.ones((1, 4), np.float32)),
        version="digits-v2",
        signature=WIDE_SIGNATURE,
        postprocess=Postprocess(kind="none"),
        preprocess=Preprocess(offset=-5.0),
    )
    for made in (good, bad):
        controller.publish(made)
    controller.assign(good)
    world.start()
    controller.wait_for("Updated", "digits-v1")
    controller.assign(bad, probation_seconds=20)
    failed = controller.wait_for("Failed", "digits-v1")
    assert failed.slots["digits"].code == "BadOutput"
    assert failed.slots["digits"].bad == (bad.digest,)
    assert "RollingBack" in {r.slots["digits"].phase for r in controller.reports() if r.slots}
    seen = len(world.answers())
    until(lambda: len(world.answers()) > seen + 20, "it keeps serving")
    lines = world.answers()
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert {line.get("version") for line in lines[seen + 5 :]} == {"digits-v1"}


def test_board_whose_new_model_hangs_on_live_input_goes_back_and_loses_no_input(world):
    controller = world.controller
    good = log_model(world.key, "digits-v1", [[1, 1, 1, 1]])
    hanging = make(
        world.key,
        (DATA / "hang-4.tflite").read_bytes(),
        npz(x0=np.full((1, 4), 2e9, np.float32), y0=np.full((1, 4), 2e9, np.float32)),
        version="digits-v2",
        signature=WIDE_SIGNATURE,
        postprocess=Postprocess(kind="none"),
    )
    for made in (good, hanging):
        controller.publish(made)
    controller.assign(good)
    world.start("[limits]\nhang_seconds = 0.5\n")
    controller.wait_for("Updated", "digits-v1")
    controller.assign(hanging, probation_seconds=20)
    until(lambda: any(r.slots["digits"].phase == "RollingBack" for r in controller.reports() if r.slots), "way back")
    seen = len(world.answers())
    until(lambda: len(world.answers()) > seen + 20, "it serves again")
    lines = world.answers()
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert {line.get("version") for line in lines} == {"digits-v1"}
    world.process.send_signal(signal.SIGTERM)
    assert world.process.wait(3) == 0, "a thread that hangs for ever must not hold up the end"


def test_board_killed_in_probation_serves_what_was_proven_and_finishes_the_update(world):
    controller = world.controller
    v1, v2 = (
        make_from(world.key, "a.tflite", version="digits-v1"),
        make_from(world.key, "b.tflite", version="digits-v2"),
    )
    for made in (v1, v2):
        controller.publish(made)
    controller.assign(v1)
    world.start()
    controller.wait_for("Updated", "digits-v1")
    controller.assign(v2, probation_seconds=3)
    controller.wait_for("Verifying", "digits-v2")
    world.process.kill()
    world.process.wait()
    before = len(world.answers())
    world.start()
    until(lambda: len(world.answers()) > before + 5, "it serves again")
    assert world.answers()[before]["version"] == "digits-v1"
    controller.wait_for("Updated", "digits-v2")
    status = world.run("status", "--json")
    remembered = json.loads(status.stdout)["remembered"]["slots"]["digits"]
    assert (remembered["current"]["digest"], remembered["previous"]["digest"]) == (v2.digest, v1.digest)
    assert "digits-v2" in world.run("status").stdout


def test_unsigned_foreign_and_stale_desired_states_are_refused_and_serving_goes_on(world):
    controller = world.controller
    v1, v2 = (
        make_from(world.key, "a.tflite", version="digits-v1"),
        make_from(world.key, "b.tflite", version="digits-v2"),
    )
    for made in (v1, v2):
        controller.publish(made)
    controller.assign(v1)
    world.start()
    controller.wait_for("Updated", "digits-v1")

    def refused_with(code):
        until(lambda: controller.reports()[-1].code == code, f"{code}; {controller.reports()[-1]}")

    stranger = Controller(controller.client, Key())
    stranger.counter = 50
    stranger.assign(v2)
    refused_with("BadSignature")
    epoch = Epoch(fleet="fleet1", epoch=7)
    controller.client.publish(topics.EPOCH, envelope.seal(PayloadType.EPOCH, codec.encode(epoch), [world.key]))
    until(lambda: controller.reports()[-1].epoch == 7, "the epoch is adopted")
    controller.assign(v2)
    refused_with("StaleEpoch")
    controller.epoch = 7
    controller.assign(v2)
    controller.wait_for("Updated", "digits-v2")
    assert controller.reports()[-1].code == ""


def test_telemetry_outlives_the_broker_and_is_trimmed_by_acknowledgements(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    controller.publish(v1)
    controller.assign(v1)
    world.start()
    controller.wait_for("Updated", "digits-v1")

    def windows():
        return [codec.decode(TelemetryWindow, data) for data in controller.client.received("/up/telemetry")]

    until(lambda: len(windows()) >= 2, "windows")
    first = windows()[0]
    assert (first.slot, first.version, first.artifact, first.sequence) == ("digits", "digits-v1", v1.digest, 1)
    assert first.count == first.latency_ms.count == sum(first.classes.values())
    assert first.longest_gap_ms > 0
    world.broker.kill()
    answered = len(world.answers())
    until(lambda: len(world.answers()) > answered + 150, "it serves without a broker")
    world.broker.start()
    controller.client.wait_subscribed_again()
    held = sum(p.stat().st_size for p in (world.state_dir / "outbox").iterdir())
    # what the board sent before this client had subscribed again is gone with the broker, and is sent again later
    until(lambda: {w.sequence for w in windows()} >= {1, 2, 3, 4, 5}, "windows again", OutboxLimits().resend_s + 20)
    last = max(w.sequence for w in windows())
    ack = Ack(boot_id=first.boot_id, sequence=last)
    controller.client.publish(topics.down(DEVICE, topics.Down.ACK), codec.encode(ack), retain=False)
    until(lambda: sum(p.stat().st_size for p in (world.state_dir / "outbox").glob("*.log")) < held, "outbox is trimmed")
    total = sum({w.sequence: w.count for w in windows()}.values())
    assert total <= len(world.answers())


def test_missing_and_damaged_chunks_are_asked_for_and_the_update_goes_on(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    controller.publish(v1, without=(1, 2))
    controller.client.publish(topics.chunk("default", v1.digest, 1), v1.chunks[0])
    controller.assign(v1)
    world.start()
    until(lambda: b'"chunks"' in b"".join(controller.client.received("/up/need")), "need")
    controller.publish(v1)
    controller.wait_for("Updated", "digits-v1")


def test_slot_that_is_no_longer_desired_stops_serving_and_leaves_the_disk(world):
    controller = world.controller
    v1 = make_from(world.key, "a.tflite", version="digits-v1")
    controller.publish(v1)
    controller.assign(v1)
    world.start()
    controller.wait_for("Updated", "digits-v1")
    controller.assign(None)
    until(lambda: controller.reports()[-1].slots == {}, "the slot is gone")
    until(lambda: list((world.state_dir / "artifacts").iterdir()) == [], "its files are gone")
    assert world.process.poll() is None


def test_second_agent_on_the_same_directory_is_refused(world):
    world.start()
    until(lambda: world.controller.client.received("/up/presence"), "the first is up")
    second = world.run("run")
    assert second.returncode == 1
    assert "another agent" in second.stderr


def test_embedded_agent_answers_through_the_same_slot(world):
    controller = world.controller
    v1, v2 = (
        make_from(world.key, "a.tflite", version="digits-v1"),
        make_from(world.key, "b.tflite", version="digits-v2"),
    )
    for made in (v1, v2):
        controller.publish(made)
    controller.assign(v1)
    with Agent.open(world.state_dir) as agent:
        slot = agent.slot("digits")
        assert slot.wait_ready(30)
        answer = slot.infer(np.array([0, 0, 1, 0], np.float32))
        assert (answer.label, answer.version, answer.artifact) == ("two", "digits-v1", v1.digest)
        controller.wait_for("Updated", "digits-v1")
        controller.assign(v2)
        until(lambda: slot.infer(np.array([0, 0, 1, 0], np.float32)).version == "digits-v2", "the swap", 30)
        assert slot.infer(np.array([0, 0, 1, 0], np.float32)).label == "one"
        controller.wait_for("Updated", "digits-v2")
    with Agent.open(world.state_dir) as agent:
        assert agent.slot("digits").wait_ready(5)
        assert agent.slot("digits").infer(np.zeros(4, np.float32)).version == "digits-v2"


def decode_presence(data: bytes) -> Presence:
    return codec.decode(Presence, data)

"""Probing: real engines, and children that die on the way, as those of a wheel for another processor or a driver do."""

import subprocess
import sys
import threading

import pytest

from litefleet_agent import probing
from litefleet_agent.probing import probe
from litefleet_agent.survey import Survey, present
from litefleet_protocol.messages import AcceleratorFound, EngineFound

SAYS = """
import os, signal, sys, time
def say(line): print(line, flush=True)
skipped = [word.removeprefix("--skip=") for word in sys.argv[1:]]
"""


def child(script: str):
    """A child's command."""
    return lambda _engine, options: [sys.executable, "-c", SAYS + script, *options]


@pytest.mark.parametrize(
    ("engine", "processor"), [("litert", "cpu"), ("openvino", "CPU"), ("onnxruntime", "CPUExecutionProvider")]
)
def test_every_engine_runs_on_the_processor_of_this_machine(engine, processor):
    found = probe(engine)
    assert (found.code, found.accelerators[0].name, found.accelerators[0].code) == ("", processor, ""), found
    assert found.version[0].isdigit()


def test_what_is_asked_for_besides_is_tried_too():
    found = probe("litert", ["/nowhere/libtpu.so"])
    last = found.accelerators[-1]
    assert (last.name, last.code) == ("/nowhere/libtpu.so", "AcceleratorMissing")


def test_an_engine_that_kills_who_loads_it_is_broken_and_the_signal_is_named():
    found = probe("litert", command=child("os.kill(os.getpid(), signal.SIGILL)"))
    assert (found.code, found.message) == ("RuntimeBroken", "its process was killed by SIGILL, loading it")


def test_an_engine_that_raises_says_why():
    found = probe("litert", command=child("raise SystemError('no such wheel')"))
    assert found.code == "RuntimeBroken"
    assert "no such wheel" in found.message


def test_an_accelerator_that_kills_who_tries_it_is_passed_by_and_the_next_one_is_tried():
    script = """
say('{"type":"loaded","version":"1.0"}')
say("something of the engine's own")
for name in ("cpu", "tpu", "gpu"):
    if name in skipped: continue
    say('{"type":"trying","accelerator":"%s"}' % name)
    if name == "tpu": os.kill(os.getpid(), signal.SIGSEGV)
    say('{"type":"tried","found":{"name":"%s","description":"fine"}}' % name)
"""
    found = probe("litert", command=child(script))
    assert (found.version, found.code) == ("1.0", "")
    assert found.accelerators == (
        AcceleratorFound(name="cpu", description="fine"),
        AcceleratorFound(name="tpu", code="AcceleratorFailed", message="its process was killed by SIGSEGV, trying tpu"),
        AcceleratorFound(name="gpu", description="fine"),
    )


def test_one_that_hangs_is_not_waited_for():
    script = """
say('{"type":"loaded","version":"1.0"}')
if not skipped:
    say('{"type":"trying","accelerator":"tpu"}')
    time.sleep(60)
"""
    found = probe("litert", command=child(script), timeout_s=2.0)
    (tpu,) = found.accelerators
    assert (tpu.code, tpu.message) == ("AcceleratorFailed", "no answer within 2 s, trying tpu")


def test_the_child_leaves_the_processor_to_who_works():
    code = "import sys, os, litefleet_agent.probe as p; sys.argv = ['probe', 'nothing']; p.main(); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    failed, nice = done.stdout.splitlines()
    assert "RuntimeMissing" in failed
    assert int(nice) >= 10


@pytest.fixture
def surveyed(monkeypatch):
    """A survey that found this of an engine."""

    def survey(found):
        monkeypatch.setattr(
            probing, "probe", lambda name, **_: found if name == found.name else EngineFound(name=name, version="1")
        )
        done = threading.Event()
        made = Survey(done.set)
        assert made.found == ()
        made.start(leave_closed=False)
        assert done.wait(10)
        return made

    return survey


def test_a_board_reports_what_works_and_what_fails_and_not_what_is_not_there(surveyed):
    gone = AcceleratorFound(name="edgetpu", code="AcceleratorMissing", message="no library")
    failed = AcceleratorFound(name="gpu", code="AcceleratorFailed", message="no driver")
    works = AcceleratorFound(name="cpu", description="fine")
    engine = EngineFound(name="litert", version="2.3.0", accelerators=(works, gone, failed))
    assert present(engine).accelerators == (works, failed)
    survey = surveyed(engine)
    assert survey.found[0].accelerators == (works, failed)
    assert survey.working({"litert": "2.3.0"}) == {"litert": "2.3.0", "openvino": "1", "onnxruntime": "1"}


def test_an_engine_that_came_without_metadata_is_reported_once_it_is_probed(surveyed):
    survey = surveyed(EngineFound(name="openvino", version="2026.4.1"))
    assert survey.working({"litert": "2.3.0"})["openvino"] == "2026.4.1"


def test_an_engine_that_does_not_load_is_no_longer_reported_as_a_runtime(surveyed):
    survey = surveyed(EngineFound(name="litert", code="RuntimeBroken", message="why"))
    assert survey.working({"litert": "2.3.0"}) == {"openvino": "1", "onnxruntime": "1"}

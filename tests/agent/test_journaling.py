"""What the agent's modules say, once, to stderr and to the journal."""

import logging
import threading

from litefleet_agent.fileio import Disk
from litefleet_agent.journal import Journal, Moment, Position
from litefleet_agent.journaling import Throttle, journaling
from litefleet_agent.logs import EventLog

log = EventLog("litefleet_agent.tested")
NOON = Moment(1_772_000_000.0, 12.5, trusted=True)


def entries(folder, say):
    journal = Journal(Disk(), folder, "boot")
    with journaling(journal, lambda: NOON):
        say()
    return journal.read(Position()).entries


def said_to_people(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "litefleet_agent.tested"]


def test_an_event_goes_to_both(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "litefleet_agent.tested"):
        (entry,) = entries(tmp_path, lambda: log.info("swapped", slot="digits", gap_ms=1.5))
    assert (entry.level, entry.event, entry.fields) == ("info", "swapped", {"slot": "digits", "gap_ms": 1.5})
    assert said_to_people(caplog) == ["swapped slot=digits gap_ms=1.5"]


def test_the_journal_has_what_stderr_does_not_show(tmp_path, caplog):
    with caplog.at_level(logging.ERROR, "litefleet_agent.tested"):
        found = entries(tmp_path, lambda: log.info("swapped"))
    assert [e.event for e in found] == ["swapped"]
    assert said_to_people(caplog) == []


def test_debug_is_not_journaled(tmp_path):
    assert entries(tmp_path, lambda: log.debug("looked")) == ()


def test_an_exception_says_what_it_was_and_where(tmp_path):
    def fails():
        try:
            raise ValueError("no such thing")
        except ValueError:
            log.exception("job_failed", slot="digits")

    (entry,) = entries(tmp_path, fails)
    assert (entry.level, entry.fields["error"]) == ("error", "ValueError: no such thing")
    assert entry.fields["raisedAt"].startswith("test_journaling.py:")


def test_values_that_are_no_json_become_text(tmp_path):
    (entry,) = entries(tmp_path, lambda: log.info("odd", path=tmp_path, nan=float("nan"), error=OSError(5, "bad")))
    assert entry.fields == {"path": str(tmp_path), "nan": "nan", "error": "[Errno 5] bad"}


def test_outside_the_block_nothing_is_kept(tmp_path):
    assert entries(tmp_path, lambda: None) == ()
    log.info("afterwards")
    assert list(tmp_path.iterdir()) == []


def test_a_throttle_lets_a_burst_through_then_one_in_a_while():
    throttle = Throttle(burst=3, every_s=10)
    assert [throttle.admit("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert throttle.admit("b", 0.0) == 0
    assert throttle.admit("a", 10.0) == 2
    assert throttle.admit("a", 10.0) is None


def test_what_goes_wrong_all_the_time_leaves_the_rest_its_place(tmp_path):
    def say():
        for _ in range(1_000):
            log.warning("inference_broke")
        log.info("swapped")

    found = entries(tmp_path, say)
    assert len(found) < 50
    assert found[-1].event == "swapped"


def test_who_says_something_does_not_wait_for_the_disk(tmp_path):
    stalled, released = threading.Event(), threading.Event()

    def stall(operation, _path):
        if operation == "append_line":
            stalled.set()
            assert released.wait(20)

    journal = Journal(Disk(before=stall), tmp_path, "boot")
    with journaling(journal, lambda: NOON):
        log.info("one")
        assert stalled.wait(20)
        log.info("two")  # returns although the disk doesn't
        released.set()
    assert [e.event for e in journal.read(Position()).entries] == ["one", "two"]

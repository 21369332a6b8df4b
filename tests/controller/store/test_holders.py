"""Whether the process that a lease names has ended: certain, or taken for alive."""

import os
import signal
import subprocess
import sys

import pytest

from litefleet_controller.store.holders import holder_name, is_gone

_NAMED = "from litefleet_controller.store.holders import holder_name; print(holder_name('other'), flush=True); input()"


@pytest.fixture
def other():
    with subprocess.Popen([sys.executable, "-c", _NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def name_of(process):
    return process.stdout.readline().decode().strip()


def changed(holder, place, value):
    replica, _, where = holder.partition("@")
    parts = where.split("/")
    parts[place] = value
    return f"{replica}@{'/'.join(parts)}"


def test_a_process_that_runs_is_not_gone(other):
    assert not is_gone(holder_name("me"))
    assert not is_gone(name_of(other))


def test_a_process_that_was_stopped_for_a_while_is_not_gone(other):
    name = name_of(other)
    other.send_signal(signal.SIGSTOP)
    assert not is_gone(name)


def test_a_process_that_was_killed_is_gone(other):
    name = name_of(other)
    other.kill()
    other.wait()
    assert is_gone(name)


def test_one_that_ended_and_was_not_waited_for_is_gone(other):
    name = name_of(other)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(name)


def test_another_process_with_its_id_is_not_taken_for_it():
    assert is_gone(changed(holder_name("me"), 3, "1"))


@pytest.mark.parametrize(("place", "value"), [(0, "another-boot"), (1, "4026531999")])
def test_elsewhere_nothing_is_certain(other, place, value):
    name = changed(name_of(other), place, value)
    other.kill()
    other.wait()
    assert not is_gone(name)


@pytest.mark.parametrize("name", ["", "a", "a@b", "a@b/c/0/1", "a@b/c/-1/1", "a@b/c/x/1"])
def test_a_name_of_another_form_says_nothing(name):
    assert not is_gone(name)

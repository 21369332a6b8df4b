"""What the agent stands on: its configuration, its state directory, the clock."""

import os
import time
from pathlib import Path

from litefleet_agent import config
from litefleet_agent.doctor.finding import Finding, fail, ok, warn
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.errors import AgentError, one_line
from litefleet_agent.journal import DIRECTORY, entries_in, file_path, numbers_in
from litefleet_agent.slots import SPARE_BYTES

ROOM_BYTES = 32 * 1024 * 1024
BACK_S = 60.0


def configuration(patient: Patient) -> list[Finding]:
    """The file that `run` is given, and the folders that it names."""
    if patient.config is None:
        return [ok("config", "no --config given: the defaults")]
    try:
        settings = config.load(patient.config)
    except AgentError as e:
        return [fail("config", f"{patient.config}: {one_line(e)}", "correct it; the agent doesn't start with it")]
    found = [ok("config", str(patient.config))]
    for slot, pipeline in settings.pipelines.items():
        if not Path(pipeline.source.path).is_dir():
            why = f"the inputs of {slot} are to come from {pipeline.source.path}, which is no folder"
            found.append(warn("config", why, "make the folder, or correct pipelines." + slot))
    return found


def state_directory(patient: Patient) -> list[Finding]:
    """Whether the agent can keep what it must, and has room for what it fetches."""
    folder = patient.state_dir
    if not folder.is_dir():
        return [fail("state", f"{folder} is no folder", "name the agent's own with --state-dir, or enroll")]
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        why = f"{folder} can't be written to by this user"
        return [fail("state", why, "check its owner, and whether its file system is mounted read-only")]
    free = patient.disk.free_bytes(folder)
    room = f"{folder} is writable, {free // 1024**2} MiB are free"
    if free < SPARE_BYTES:
        return [fail("state", f"{room}; {SPARE_BYTES // 1024**2} MiB must stay free", "make room: nothing is fetched")]
    if free < ROOM_BYTES:
        return [warn("state", room, "make room: a new model may not fit")]
    return [ok("state", room)]


def process(patient: Patient) -> list[Finding]:
    """Whether the agent runs."""
    if patient.running is None:
        return [warn("agent", "no agent runs on this folder", "start it: litefleet-agent run")]
    return [ok("agent", f"runs as process {patient.running}")]


def clock(patient: Patient) -> list[Finding]:
    """Whether the wall clock is possible, and hasn't gone back behind what was written by it."""
    says = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(patient.wall))
    if not patient.clock_trusted:
        todo = "set it or let NTP do so; until then dates aren't checked, and telemetry is marked"
        return [warn("clock", f"it says {says}, which can't be", todo)]
    newest = _newest(patient)
    if newest - patient.wall > BACK_S:
        why = f"it says {says}, {newest - patient.wall:.0f} s before the journal's newest entry"
        return [warn("clock", why, "it has gone back; set it, or let NTP do so")]
    return [ok("clock", f"it says {says}")]


def _newest(patient: Patient) -> float:
    numbers = numbers_in(patient.disk, patient.state_dir / DIRECTORY)
    if not numbers:
        return 0.0
    data = patient.disk.read(file_path(patient.state_dir / DIRECTORY, numbers[-1])) or b""
    return max((e.at for e in entries_in(data) if e.clock_trusted), default=0.0)

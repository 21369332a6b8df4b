"""What the journal tells: the last things that went wrong."""

import time

from litefleet_agent.doctor.finding import Finding, ok, warn
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.journal import DIRECTORY, entries_in, file_path, numbers_in
from litefleet_protocol.logline import text
from litefleet_protocol.messages import LogEntry

SHOWN = 5
RECENT_S = 86_400.0


def history(patient: Patient) -> list[Finding]:
    """The last warnings and errors of the newest start and of the last day."""
    entries = _entries(patient)
    if not entries:
        return [ok("journal", "empty: no agent has run here since the journal began")]
    bad = [e for e in entries if e.level != "info" and _recent(e, entries[-1], patient.wall)]
    if not bad:
        return [ok("journal", f"{len(entries)} entries, nothing bad of late; the last: {_line(entries[-1])}")]
    return [warn("journal", _line(e), "") for e in bad[-SHOWN:]]


def _entries(patient: Patient) -> list[LogEntry]:
    folder = patient.state_dir / DIRECTORY
    found: list[LogEntry] = []
    for number in numbers_in(patient.disk, folder):
        found += entries_in(patient.disk.read(file_path(folder, number)) or b"")
    return found


def _recent(entry: LogEntry, newest: LogEntry, wall: float) -> bool:
    return entry.boot_id == newest.boot_id or (entry.clock_trusted and wall - entry.at < RECENT_S)


def _line(entry: LogEntry) -> str:
    doubt = "" if entry.clock_trusted else "~"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(0.0, min(entry.at, 4e9))))
    return f"{doubt}{at} {text(entry.event, entry.fields)}"

"""What a controller's database was told, in order and by transaction: kept by triggers in the database itself.

No part of the product knows of it. Commands to boards, what rollouts said of themselves and each new epoch come as
rows; a row `commit` ends each transaction (tests/counting_controller.py writes it).
"""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.small_disk import within

_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT, name TEXT, value TEXT);
INSERT INTO audit (what) VALUES ('begin');
CREATE TRIGGER IF NOT EXISTS audit_assigned AFTER INSERT ON assignments BEGIN
  INSERT INTO audit (what, name, value) VALUES ('assigned', NEW.device, NEW.version);
END;
CREATE TRIGGER IF NOT EXISTS audit_rollout AFTER INSERT ON changes WHEN NEW.kind = 'ModelRollout' BEGIN
  INSERT INTO audit (what, name, value) VALUES ('rollout', NEW.name, CAST(NEW.body AS TEXT));
END;
CREATE TRIGGER IF NOT EXISTS audit_epoch AFTER UPDATE ON leases WHEN NEW.epoch <> OLD.epoch BEGIN
  INSERT INTO audit (what, name, value) VALUES ('epoch', NEW.holder, NEW.epoch);
END;
"""


@dataclass(frozen=True)
class Transaction:
    """What one transaction wrote."""

    assigned: dict[str, str]
    """Board to version."""
    rollout: dict[str, Any] | None
    """The rollout's status, when it was written."""
    epochs: tuple[int, ...]


_QUERY = "SELECT id, what, name, value FROM audit WHERE id > ? ORDER BY id"
_READ = f"""
import json, sqlite3, sys
print(json.dumps(sqlite3.connect(sys.argv[1]).execute("{_QUERY}", (sys.argv[2],)).fetchall()))
"""
Row = tuple[int, str, str, str]


class Audit:
    """The log in `database`, as process `pid` sees it when its mounts are its own."""

    def __init__(self, database: Path, pid: int | None = None) -> None:
        self._database = database
        self._pid = pid

    def install(self) -> None:
        """Once, while no controller runs."""
        with closing(sqlite3.connect(self._database)) as raw:
            raw.executescript(_SCHEMA)

    def position(self) -> int:
        """Where the log ends now."""
        return int(self._rows(0)[-1][0])

    def _rows(self, position: int) -> list[Row]:
        if self._pid is None:
            with closing(sqlite3.connect(self._database, timeout=30)) as raw:
                return raw.execute(_QUERY, (position,)).fetchall()
        # In a process: SQLite follows symbolic links by itself, so /proc/PID/root leads it to our own mounts.
        command = [*within(self._pid), sys.executable, "-S", "-c", _READ, str(self._database), str(position)]
        rows: list[Row] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return rows

    def since(self, position: int) -> list[Transaction]:
        """What was committed after `position`, transaction by transaction, without those that wrote nothing of it."""
        rows = self._rows(position)
        found: list[Transaction] = []
        assigned: dict[str, str] = {}
        rollout: dict[str, Any] | None = None
        epochs: list[int] = []
        for _, what, name, value in [*rows, (0, "commit", "", "")]:
            match what:
                case "assigned":
                    assigned[name] = value
                case "rollout":
                    rollout = json.loads(value).get("status") or {}
                case "epoch":
                    epochs.append(int(value))
                case "commit" if assigned or rollout is not None or epochs:
                    found.append(Transaction(assigned, rollout, tuple(epochs)))
                    assigned, rollout, epochs = {}, None, []
        return found

"""What a controller's database was told, in order and by transaction: kept by triggers in the database itself.

No part of the product knows of it. Commands to boards, what rollouts said of themselves and each new epoch come as
rows; a row `commit` ends each transaction (tests/counting_controller.py writes it).
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


class Audit:
    """The log in `database`."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def install(self) -> None:
        """Once, while no controller runs."""
        with closing(sqlite3.connect(self._database)) as raw:
            raw.executescript(_SCHEMA)

    def position(self) -> int:
        """Where the log ends now."""
        with closing(sqlite3.connect(self._database)) as raw:
            return int(raw.execute("SELECT max(id) FROM audit").fetchone()[0])

    def since(self, position: int) -> list[Transaction]:
        """What was committed after `position`, transaction by transaction, without those that wrote nothing of it."""
        with closing(sqlite3.connect(self._database)) as raw:
            rows = raw.execute("SELECT what, name, value FROM audit WHERE id > ? ORDER BY id", (position,)).fetchall()
        found: list[Transaction] = []
        assigned: dict[str, str] = {}
        rollout: dict[str, Any] | None = None
        epochs: list[int] = []
        for what, name, value in [*rows, ("commit", None, None)]:
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

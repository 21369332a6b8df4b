"""`litefleet` that counts the commits of its database, and kills itself at one of them when a plan says so.

Started in place of the real command line as `python -m tests.counting_controller FOLDER up ...`: the program is the same but
for what SQLAlchemy tells at each commit. FOLDER holds the plan (when there is one) and the count. Each transaction that
writes leaves a row in the audit's log (tests/faults/audit.py), so that what was committed together can be told. It
stands outside of tests/faults, which takes seconds to import.
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

When = Literal["before", "after"]


@dataclass(frozen=True)
class Plan:
    """Die `when` commit number `at`, counted from when the plan is there, is done; or only count them."""

    folder: Path

    @property
    def _file(self) -> Path:
        return self.folder / "plan.json"

    @property
    def _count(self) -> Path:
        return self.folder / "commits"

    def write(self, at: int | None, when: When) -> None:
        """For the controller that runs, from now on."""
        self.folder.mkdir(exist_ok=True)
        self.clear()
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({"at": at, "when": when}))
        temporary.replace(self._file)

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)
        self._count.unlink(missing_ok=True)

    def read(self) -> tuple[int | None, When] | None:
        try:
            plan = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        return plan["at"], plan["when"]

    def counted(self) -> int:
        """Commits since the plan was written."""
        return len(self._count.read_bytes()) if self._count.exists() else 0

    def count(self) -> int:
        """One more; how many there are."""
        with self._count.open("ab") as file:
            file.write(b".")
            return file.tell()


def count_commits(plan: Plan) -> None:
    """In this process, from now on."""
    from sqlalchemy import event
    from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
    from sqlalchemy.engine import Connection, Engine

    commit = SQLiteDialect_aiosqlite.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        wanted = plan.read()
        now = wanted is not None and plan.count() == wanted[0]
        if now and wanted is not None and wanted[1] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, connection)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    def mark(connection: Connection) -> None:
        if connection.get_execution_options().get("litefleet_writes"):
            connection.exec_driver_sql(_MARK)

    SQLiteDialect_aiosqlite.do_commit = do_commit  # type: ignore[method-assign]
    event.listen(Engine, "commit", mark)


_MARK = """
INSERT INTO audit (what) SELECT 'commit' WHERE (SELECT what FROM audit ORDER BY id DESC LIMIT 1) <> 'commit'
"""


def run_litefleet() -> None:
    """With what is left of the command line."""
    from litefleet_controller.cli import main as litefleet

    litefleet()


if __name__ == "__main__":
    count_commits(Plan(Path(sys.argv.pop(1))))
    run_litefleet()

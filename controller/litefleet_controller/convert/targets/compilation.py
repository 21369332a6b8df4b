"""What a vendor's compiler said and made, as values. Imports msgspec only: said by a worker, read in the controller."""

import re

from msgspec import Struct

_MAPPED = "Mapped to Edge TPU"
_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d+)", re.MULTILINE)
_HEADER = re.compile(r"^Operator\s+Count\s+Status\s*$", re.MULTILINE)
_ROW = re.compile(r"^(\S+)[ \t]+(\d{1,9})[ \t]+(\S.*?)\s*$", re.MULTILINE)
_MAX_ROWS = 500


class Row(Struct, frozen=True, kw_only=True):
    """One line of the compiler's table."""

    operator: str
    count: int
    status: str
    """`Mapped to Edge TPU`, or why not."""


class CompilerLog(Struct, frozen=True, kw_only=True):
    """What edgetpu_compiler printed with --show_operations."""

    version: str
    subgraphs: int
    rows: tuple[Row, ...]

    @property
    def operators(self) -> int:
        """How many the model had."""
        return sum(row.count for row in self.rows)

    @property
    def mapped(self) -> int:
        """How many the TPU runs."""
        return sum(row.count for row in self.rows if row.status == _MAPPED)


class Compilation(Struct, frozen=True, kw_only=True):
    """A file that was compiled and looked at. Nothing here can run it."""

    log: CompilerLog
    runtime_version: int | None
    """The oldest Edge TPU runtime that takes the file, as the file says; None when it doesn't."""
    operators: dict[str, int]
    """How often each operator stands in the compiled graph."""


def parse_log(text: str) -> CompilerLog:
    """What is known of the output of versions 2 to 16; what isn't there is empty or 0."""
    version, subgraphs, header = _VERSION.search(text), _SUBGRAPHS.search(text), _HEADER.search(text)
    rows = list(_ROW.finditer(text, header.end()))[:_MAX_ROWS] if header else []
    return CompilerLog(
        version=version[1][:40] if version else "",
        subgraphs=int(subgraphs[1]) if subgraphs else 0,
        rows=tuple(Row(operator=row[1][:60], count=int(row[2]), status=row[3][:200]) for row in rows),
    )

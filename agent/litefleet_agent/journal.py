"""What happened on this board, on its disk: one JSON object a line, in two files that take turns, each bounded.

    journal/<number>.jsonl     the newest two; a full one is followed by the next number

Lines aren't waited for: a kill loses nothing that was written, a power cut the last seconds. A torn line (a kill, a
disk that was full in the middle of it) is ended by the next one, and passed over by every reader, like any other that
can't be read. Nothing here raises for the disk's sake but reading: what can't be written is counted, and serving goes
on.

Written by `journaling`, from any thread; read by `logsender`, and by the doctor from outside.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk, LineFile
from litefleet_protocol.limits import MAX_LOG_FIELDS
from litefleet_protocol.messages import LogEntry, LogValue

DIRECTORY = "journal"
FILES = 2
MAX_LINE_BYTES = 16 * 1024
"""More is no line that was ever written: fields and their texts are bounded."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LogEntry)


class Moment(Struct, frozen=True):
    """When something happened, by both clocks."""

    wall: float
    monotonic: float
    trusted: bool


class Position(Struct, frozen=True, order=True):
    """A place in the journal: between two lines."""

    file: int = 0
    offset: int = 0


class Portion(Struct, frozen=True):
    """What was read, and where to go on."""

    entries: tuple[LogEntry, ...]
    end: Position


class Journal:
    """One directory. Thread-safe; touches the disk when it is first used."""

    def __init__(self, disk: Disk, directory: Path, boot_id: str, *, file_bytes: int = 512 * 1024) -> None:
        self.boot_id = boot_id
        self.lost = 0
        """Entries that the disk didn't take since it last took one."""
        self._disk = disk
        self._directory = directory
        self._file_bytes = file_bytes
        self._lock = threading.Lock()
        self._numbers: list[int] = []
        self._size = 0
        self._torn = False
        """The newest file may end in the middle of a line."""
        self._lines: LineFile | None = None
        self._sequence = 0

    def append(self, level: str, event: str, fields: Mapping[str, LogValue], moment: Moment) -> bool:
        """Add an entry; False when the disk doesn't take it."""
        with self._lock:
            told = dict(list(fields.items())[:MAX_LOG_FIELDS])
            if self.lost:
                told["lostBefore"] = self.lost
            entry = LogEntry(
                boot_id=self.boot_id,
                sequence=self._sequence + 1,
                at=moment.wall,
                monotonic=moment.monotonic,
                clock_trusted=moment.trusted,
                level=level,
                event=event,
                fields=told,
            )
            try:
                self._write(_encoder.encode(entry) + b"\n")
            except OSError:
                self._forget()
                self.lost += 1
                return False
            self._sequence += 1
            self.lost = 0
            return True

    def end(self) -> Position:
        """Behind the last line. May raise OSError."""
        with self._lock:
            self._open()
            return self._end()

    def read(self, position: Position, max_bytes: int = MAX_LINE_BYTES) -> Portion:
        """Some entries from `position` on, as many as `max_bytes` of lines hold; none when there are no more.

        Garbled lines are passed over; a position that is no more, because files have gone since, means the oldest line.
        May raise OSError.
        """
        with self._lock:
            self._open()
            numbers, end = list(self._numbers), self._end()
        if not numbers:
            return Portion((), position)
        if position.file not in numbers or position > end:
            position = Position(numbers[0])
        while True:
            newest = position.file == end.file
            data = self._disk.read_at(self._path(position.file), position.offset, max_bytes)
            whole = data.rfind(b"\n") + 1
            if not whole and (len(data) == max_bytes or not newest):
                whole = len(data)  # no line, however long one waits
            if whole:
                return Portion(tuple(entries_in(data[:whole])), Position(position.file, position.offset + whole))
            if newest:
                return Portion((), position)
            position = Position(numbers[numbers.index(position.file) + 1])

    def _end(self) -> Position:
        return Position(self._numbers[-1], self._size) if self._numbers else Position()

    def _open(self) -> None:
        """Learn what is there, once; take up the newest file, whoever wrote it."""
        if self._lines is not None or self._numbers:
            return
        self._numbers = numbers_in(self._disk, self._directory)
        if self._numbers:
            path = self._path(self._numbers[-1])
            self._size = self._disk.size(path) or 0
            self._torn = self._size > 0 and self._disk.read_at(path, self._size - 1, 1) != b"\n"

    def _forget(self) -> None:
        """Look again at what is there: the folder may have gone, the last line may be torn."""
        if self._lines is not None:
            self._lines.close()
        self._lines = None
        self._numbers = []
        self._torn = False

    def _write(self, line: bytes) -> None:
        self._open()
        if not self._numbers or self._size + len(line) > self._file_bytes:
            self._next_file()
        if self._lines is None:
            self._lines = self._disk.lines(self._path(self._numbers[-1]))
        ended = b"\n" + line if self._torn else line
        self._lines.append(ended)
        self._torn = False
        self._size = self._disk.size(self._path(self._numbers[-1])) or 0  # another process may have written, too

    def _next_file(self) -> None:
        self._disk.make_directory(self._directory)
        number = self._numbers[-1] + 1 if self._numbers else 1
        if self._lines is not None:
            self._lines.close()
        self._lines = self._disk.lines(self._path(number))
        self._numbers = [*self._numbers, number]
        self._size = 0
        self._torn = False
        while len(self._numbers) > FILES:
            self._disk.remove(self._path(self._numbers[0]))
            del self._numbers[0]

    def _path(self, number: int) -> Path:
        return file_path(self._directory, number)


def file_path(directory: Path, number: int) -> Path:
    """One file of a journal."""
    return directory / f"{number:08d}.jsonl"


def numbers_in(disk: Disk, directory: Path) -> list[int]:
    """The numbers of a journal's files, oldest first."""
    found = disk.list(directory)
    return sorted(int(p.stem) for p in found if p.suffix == ".jsonl" and p.stem.isascii() and p.stem.isdecimal())


def entries_in(data: bytes) -> list[LogEntry]:
    """The entries among `data`'s lines, whatever else there is."""
    found = []
    for line in data.split(b"\n"):
        if not line or len(line) > MAX_LINE_BYTES:
            continue
        try:
            found.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    return found

"""What is on a disk after the power went: what was synced, and of the rest what a seed chooses.

`Disk` replays a trace. Each file and directory knows its content as programs see it and as the disk has it for certain;
between them lie operations that nobody has synced yet. See the package's docstring for what this models and what not.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tests.killing.trace import Operation

PAGE = 4096


@dataclass(eq=False, slots=True)
class File:
    seen: bytes = b""
    durable: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        self.seen = _written(self.seen, operation)
        self.pending.append(operation)

    def sync(self) -> None:
        self.durable, self.pending = self.seen, []


@dataclass(eq=False, slots=True)
class _Change:
    """Of a directory: `gone` goes, `name` (when there is one) becomes `node`."""

    gone: str
    name: str = ""
    node: "File | Directory | None" = None


@dataclass(eq=False, slots=True)
class Directory:
    seen: "dict[str, File | Directory]" = field(default_factory=dict)
    durable: "dict[str, File | Directory]" = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)

    def do(self, change: _Change) -> None:
        _apply(self.seen, change)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.seen), []


N = TypeVar("N", File, Directory)


def _apply(names: "dict[str, File | Directory]", change: _Change) -> None:
    if change.gone:
        names.pop(change.gone, None)
    if change.name and change.node is not None:
        names[change.name] = change.node


def _written(content: bytes, operation: Operation) -> bytes:
    if operation.name == "truncate":
        return content[: operation.offset].ljust(operation.offset, b"\0")
    end = operation.offset + len(operation.data)
    return content[: operation.offset].ljust(operation.offset, b"\0") + operation.data + content[end:]


class Disk:
    """Begins as a folder is, all of it synced."""

    def __init__(self, folder: Path) -> None:
        self._root = _read(folder)

    def replay(self, operations: Iterable[Operation]) -> None:
        """Do again what a process did."""
        acts: dict[str, Callable[[Operation], None]] = {
            "open": self._open,
            "write": lambda o: self._node(o.path, File).do(o),
            "truncate": lambda o: self._node(o.path, File).do(o),
            "fsync": lambda o: self._find(o.path).sync(),
            "rename": self._rename,
            "remove": lambda o: self._change(o.path, _Change(PurePosixPath(o.path).name)),
            "mkdir": lambda o: self._change(o.path, _Change("", PurePosixPath(o.path).name, Directory())),
            "killed": lambda _: None,
        }
        for operation in operations:
            if not operation.path.endswith(" (deleted)"):  # as Linux names what only a descriptor still holds
                acts[operation.name](operation)

    def _open(self, operation: Operation) -> None:
        if operation.other == "create":
            self._change(operation.path, _Change("", PurePosixPath(operation.path).name, File()))
        elif operation.other == "truncate":
            self._node(operation.path, File).do(Operation("truncate", operation.path))

    def _rename(self, operation: Operation) -> None:
        source, target = PurePosixPath(operation.other), PurePosixPath(operation.path)
        if source.parent != target.parent:
            raise NotImplementedError(f"a rename from one directory to another: {source} to {target}")
        self._change(operation.path, _Change(source.name, target.name, self._find(operation.other)))

    def _change(self, path: str, change: _Change) -> None:
        self._node(str(PurePosixPath(path).parent), Directory).do(change)

    def _node(self, path: str, kind: type[N]) -> N:
        node = self._find(path)
        assert isinstance(node, kind), path
        return node

    def _find(self, path: str) -> File | Directory:
        node: File | Directory = self._root
        for name in PurePosixPath(path).parts:
            assert isinstance(node, Directory), path
            node = node.seen[name]
        return node

    # --- what is left ---

    def seen(self, folder: Path) -> None:
        """Write down what programs saw: the disk after a kill."""
        _write(self._root, folder, lambda d: d.seen, lambda f: f.seen)

    def after_power_cut(self, folder: Path, seed: int | None) -> None:
        """Write down what a cut leaves: nothing unsynced without a seed, else what the seed chooses of it."""
        choose = random.Random(seed)
        share = 0.0 if seed is None else choose.choice((0.2, 0.5, 0.9))

        def names(directory: Directory) -> "dict[str, File | Directory]":
            kept = dict(directory.durable)
            for change in directory.pending:
                if choose.random() < share:
                    _apply(kept, change)
            return kept

        def content(file: File) -> bytes:
            kept = file.durable
            for operation in file.pending:
                for part in _pages(operation):
                    if choose.random() < share:
                        kept = _written(kept, part)
            return kept

        _write(self._root, folder, names, content)


def _pages(operation: Operation) -> Iterable[Operation]:
    """A write as the pages that it dirties; each may reach the disk alone."""
    if operation.name == "truncate":
        yield operation
        return
    at = operation.offset
    while at < (end := operation.offset + len(operation.data)):
        stop = min((at // PAGE + 1) * PAGE, end)
        yield Operation(
            "write", operation.path, "", at, operation.data[at - operation.offset : stop - operation.offset]
        )
        at = stop


def _read(folder: Path) -> Directory:
    names = {p.name: _read(p) if p.is_dir() else _read_file(p) for p in sorted(folder.iterdir())}
    return Directory(names, dict(names))


def _read_file(path: Path) -> File:
    data = path.read_bytes()
    return File(data, data)


def _write(
    directory: Directory,
    folder: Path,
    names: "Callable[[Directory], dict[str, File | Directory]]",
    content: Callable[[File], bytes],
) -> None:
    folder.mkdir(parents=True)
    for name, node in names(directory).items():
        if isinstance(node, File):
            (folder / name).write_bytes(content(node))
        else:
            _write(node, folder / name, names, content)

"""A Model's files: where each is, and what to wait for. Fetching itself is behind `sources`.

A URI without a digest means what is found there when a version is made. From then on the version has the digest, and
what changes behind the URI changes no version: only the next one looks again.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.model import FileStatus, ModelSpec, NamedFile, digest_of, files_of
from litefleet_controller.sources.fetches import Fetches
from litefleet_controller.sources.interface import Fetched, Fetching, State, Wanted
from litefleet_protocol.codes import Code

P = TypeVar("P", bound=Part)
LOOK_S = 1.0
"""How often a fetch is looked at."""
PUSH_S = 5.0
"""How often a push is looked for: it changes no Model."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where a Model's files are."""

    files: list[FileStatus]
    look_again_s: float | None = None
    """None when nothing comes of waiting."""

    @property
    def are_here(self) -> bool:
        """Whether a version can be made."""
        return all(file.state == "Ready" for file in self.files)

    @property
    def digests(self) -> dict[str, str]:
        """Field to digest, of what is here."""
        return {file.field: file.digest for file in self.files if file.digest is not None and file.state == "Ready"}

    @property
    def trouble(self) -> tuple[str, str]:
        """Why no version can be made: a condition's reason and message."""
        waiting = [file for file in self.files if file.state != "Ready"]
        worst = min(waiting, key=lambda file: ("Refused", "Waiting", "Fetching").index(file.state))
        return worst.code or worst.state, "; ".join(f"{f.field}.{_part(f)}: {f.message}" for f in waiting)


async def locate(spec: ModelSpec, blobs: Blobs, fetches: Fetches, owner: Hashable) -> Located:
    """Where the files of `spec` are; those that aren't here are fetched for `owner`."""
    found: list[FileStatus] = []
    wanted: list[tuple[str, Wanted]] = []
    for field, file in files_of(spec):
        digest = digest_of(file)
        size = await blobs.size(digest) if digest is not None else None
        if file.uri.startswith("blob://"):
            found.append(_pushed(field, file, size))
        elif digest is not None and size is not None:
            found.append(_here(field, file.uri, digest, size))
        else:
            wanted.append((field, Wanted(file.uri, digest)))
    states = fetches.want(owner, [file for _, file in wanted])
    pauses = [PUSH_S for file in found if file.state == "Waiting"]
    for (field, asked), state in zip(wanted, states, strict=True):
        found.append(_under_way(field, asked.uri, state))
        pause = LOOK_S if isinstance(state, Fetching) else getattr(state, "retry_in_s", None)
        pauses += [] if pause is None else [max(pause, LOOK_S)]
    order = [field for field, _ in files_of(spec)]
    return Located(sorted(found, key=lambda f: order.index(f.field)), min(pauses, default=None))


def with_digests(spec: ModelSpec, digests: Mapping[str, str]) -> ModelSpec:
    """`spec` with a digest for every file that is fetched and has none; what was pushed is named by its own already."""
    for field, file in files_of(spec):
        if field in digests and file.digest is None and not file.uri.startswith("blob://"):
            spec = _with(spec, field.split(".")[1:], file.model_copy(update={"digest": digests[field]}))
    return spec


def _with(part: P, path: Sequence[str], file: NamedFile) -> P:
    """`part` with `file` at the end of `path`, a list of its fields."""
    name, *rest = path
    return part.model_copy(update={name: _with(getattr(part, name), rest, file) if rest else file})


def digests_of(spec: ModelSpec, like: ModelSpec) -> dict[str, str]:
    """Field to digest, of the files in `spec` that `like` names by the same URI."""
    uris = {field: file.uri for field, file in files_of(like)}
    return {f: file.digest for f, file in files_of(spec) if file.digest is not None and uris.get(f) == file.uri}


def _pushed(field: str, file: NamedFile, size: int | None) -> FileStatus:
    digest = file.uri.removeprefix("blob://")
    if file.digest not in (None, digest):
        message = f"{file.digest} is expected, but the URI names another file"
        return FileStatus(field=field, uri=file.uri, state="Refused", code=Code.DIGEST_MISMATCH, message=message)
    if size is None:
        message = f"nothing was pushed as {file.uri}; upload it with 'litefleet model push FILE'"
        return FileStatus(field=field, uri=file.uri, state="Waiting", code="NotFound", message=message)
    return _here(field, file.uri, digest, size)


def _here(field: str, uri: str, digest: str, size: int) -> FileStatus:
    return FileStatus(field=field, uri=uri, state="Ready", digest=digest, size_bytes=size, received_bytes=size)


def _under_way(field: str, uri: str, state: State) -> FileStatus:
    match state:
        case Fetched(digest=digest, size=size):
            return _here(field, uri, digest, size)
        case Fetching(received=received, total=total):
            return FileStatus(
                field=field,
                uri=uri,
                state="Fetching",
                received_bytes=received,
                size_bytes=total,
                message=_progress(received, total),
            )
    return FileStatus(
        field=field,
        uri=uri,
        state="Waiting" if state.retry_in_s is not None else "Refused",
        code=state.code,
        message=state.message,
    )


def _progress(received: int, total: int | None) -> str:
    if not total:
        return f"being fetched, {received} bytes so far"
    return f"being fetched, {received} of {total} bytes ({received * 100 // total}%)"


def _part(file: FileStatus) -> str:
    return "digest" if file.code == Code.DIGEST_MISMATCH else "uri"

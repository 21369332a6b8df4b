"""What each slot remembers, and whether it lies unharmed on the disk; and what lies there that nobody remembers."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from litefleet_agent.board import RetryPolicy, Self, kept_artifacts, restored
from litefleet_agent.doctor.finding import Finding, fail, ok, warn
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.errors import AgentError
from litefleet_agent.slots import ArtifactFolder, read_manifest
from litefleet_agent.state import POINTERS, Artifact, Saved, SavedSlot
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.names import digest_hex

_FETCHED_AGAIN = "nothing to do: the agent notices when it next loads it, and fetches it again if it is still wanted"


def slots(patient: Patient) -> list[Finding]:
    """The pointer file, and each slot's artifacts, hashed."""
    data = patient.disk.read(patient.state_dir / POINTERS)
    if data is None:
        return [ok("slots", "nothing was assigned to this board yet")]
    try:
        remembered = msgspec.json.decode(data, type=Saved)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        todo = "restart the agent: it sets the file aside and takes up what the controller wants"
        return [fail("slots", f"{patient.state_dir / POINTERS} is damaged: {e}", todo)]
    found = [f for name, slot in sorted(remembered.slots.items()) for f in _slot(patient, name, slot)]
    return [*(found or [ok("slots", "no slot is assigned")]), *_leftovers(patient, remembered)]


def _slot(patient: Patient, name: str, slot: SavedSlot) -> Iterator[Finding]:
    what = f"slot {name}"
    wanted = slot.desired
    if slot.current is None and wanted is None:
        yield ok(what, "nothing is wanted in it")
    if slot.current is not None:
        harm = _harm(patient, slot.current)
        if harm:
            todo = "restart the agent: it goes back to what was before, and fetches this again"
            yield fail(what, f"current {_named(slot.current)}: {harm}", todo)
        else:
            yield ok(what, f"current {_named(slot.current)}, unharmed")
    if slot.previous is not None:
        harm = _harm(patient, slot.previous)
        if harm:
            yield warn(what, f"previous {_named(slot.previous)}, the way back: {harm}", _FETCHED_AGAIN)
        else:
            yield ok(what, f"previous {_named(slot.previous)}, unharmed")
    if wanted is None or (slot.current is not None and wanted.artifact == slot.current.digest):
        return
    target = Artifact(wanted.artifact, wanted.version)
    if target.digest in slot.bad:
        todo = f"look why (litefleet-agent doctor, litefleet logs), then retry its rollout {wanted.rollout}".rstrip()
        yield warn(what, f"desired {_named(target)} failed here: {slot.bad[target.digest]}", todo)
    elif _folder(patient, target).path.is_dir():
        harm = _harm(patient, target)
        yield warn(what, f"desired {_named(target)} {harm or 'is on the disk and not proven yet'}", _wait(patient))
    else:
        yield warn(what, f"desired {_named(target)} has not arrived yet", _wait(patient))


def _wait(patient: Patient) -> str:
    return "the agent is at it" if patient.running is not None else "start the agent"


def _named(artifact: Artifact) -> str:
    return f"{artifact.version} {artifact.digest.removeprefix('sha256:')[:12]}".strip()


def _folder(patient: Patient, artifact: Artifact) -> ArtifactFolder:
    return ArtifactFolder(patient.disk, patient.state_dir / "artifacts" / digest_hex(artifact.digest))


def _harm(patient: Patient, artifact: Artifact) -> str:
    """What is wrong with an artifact on the disk, empty when nothing is."""
    try:
        folder = _folder(patient, artifact)
        sealed = folder.sealed_manifest()
        if sealed is None:
            return "its manifest is missing"
        folder.check_files(read_manifest(artifact.digest, sealed))
    except ProtocolError as e:
        return f"its manifest is damaged: {e}"
    except AgentError as e:
        return str(e)
    return ""


def _leftovers(patient: Patient, remembered: Saved) -> list[Finding]:
    """What a kill left behind, and what is kept for nobody."""
    state = restored(Self("", "", "", ""), remembered, RetryPolicy())
    kept = {digest_hex(digest) for digest in kept_artifacts(state)}
    lost = [
        *(p for p in patient.disk.list(patient.state_dir / "artifacts") if p.name.removesuffix(".partial") not in kept),
        *(p for p in _files(patient) if p.name.endswith(".damaged") or (p.name.startswith(".") and p.suffix == ".new")),
    ]
    if not lost:
        return [ok("leftovers", "none")]
    names = ", ".join(str(p.relative_to(patient.state_dir)) for p in lost[:5]) + (", ..." if len(lost) > 5 else "")
    todo = "harmless; artifacts go with the next start or change, files ending in .damaged or .new may be deleted"
    return [warn("leftovers", f"{len(lost)}: {names}", todo)]


def _files(patient: Patient) -> list[Path]:
    folders = (patient.state_dir, patient.state_dir / "identity", patient.state_dir / "journal")
    return [path for folder in folders for path in patient.disk.list(folder)]

"""From what a board said to the status of its Device. Pure.

What a board sends is bounded and checked here, because it ends up in an object that everyone lists.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from litefleet_controller.resources.device import DeviceAccelerator, DeviceEngine, DeviceSlot
from litefleet_protocol.limits import MAX_SLOTS
from litefleet_protocol.messages import EngineFound, Phase, Presence, Reported, SlotReported
from litefleet_protocol.names import is_digest, is_name

Json = dict[str, Any]
VersionOf = Callable[[str, str, str], str]
"""(device, slot, artifact) to the ModelVersion's name, empty when it isn't known."""

_MAX_TEXT = 1024
_MAX_RUNTIMES = 16
_MAX_ENGINES = 8
_MAX_REASON = 300
_LARGEST = 2**53
LAST_SEEN_EVERY_S = 60.0
"""How stale lastSeen may get, so that boards which only repeat themselves cause no writes."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one board said last; None for what it didn't say yet."""

    reported: Reported | None = None
    presence: Presence | None = None

    def with_reported(self, reported: Reported) -> "Said":
        """After another report. One that is older than what is known of the same boot changes nothing."""
        known = self.reported
        if known is not None and known.boot_id == reported.boot_id and known.sequence > reported.sequence:
            return self
        return replace(self, reported=reported)

    def with_presence(self, presence: Presence) -> "Said":
        """After news of a connection. The will of a connection that is not the current one changes nothing."""
        known = self.presence
        if not presence.online and known is not None and known.connection != presence.connection:
            return self
        return replace(self, presence=presence)


def is_plausible(reported: Reported) -> bool:
    """Whether a report can be kept at all. Single slots that can't are left out by `status_of`."""
    return (
        0 <= reported.epoch < _LARGEST
        and 0 <= reported.counter < _LARGEST
        and 0 <= reported.sequence < _LARGEST
        and len(reported.slots) <= MAX_SLOTS
        and len(reported.boot_id) <= 64
    )


def status_of(device: str, said: Said, version_of: VersionOf) -> Json:
    """The part of a Device's status that the board decides, in the manifest's spelling."""
    status: Json = {}
    if said.presence is not None:
        status["connection"] = "Online" if said.presence.online else "Offline"
        status["connectionId"] = said.presence.connection[:64]
    reported = said.reported
    if reported is not None:
        has = reported.capabilities
        status |= {
            "agentVersion": has.agent[:64],
            "runtimes": {k[:64]: v[:64] for k, v in list(has.runtimes.items())[:_MAX_RUNTIMES]},
            # A board that has just started hasn't looked yet: what it said before stands until it has.
            "engines": [_engine(engine) for engine in has.engines[:_MAX_ENGINES]] or None,
            "machine": has.machine[:64],
            "memoryBytes": _bytes(has.memory_bytes),
            "diskFreeBytes": _bytes(has.disk_free_bytes),
            "bootId": reported.boot_id,
            "epoch": reported.epoch,
            "counter": reported.counter,
            "slots": [
                _slot(device, name, slot, version_of)
                for name, slot in sorted(reported.slots.items())
                if is_name(name) and slot.phase in Phase.ALL
            ],
            "code": reported.code[:64],
            "message": reported.message[:_MAX_TEXT],
        }
    return {k: v for k, v in status.items() if v is not None}


def changed_status(stored: Json, said: Json, now: datetime, generation: int) -> Json | None:
    """The whole new status, None when it isn't worth a write."""
    fresh = {**stored, **said, "observedGeneration": generation}
    for name in ("memoryBytes", "diskFreeBytes"):
        if "bootId" in said and name not in said:
            fresh.pop(name, None)
    last_seen = stored.get("lastSeen")
    # Either way: a time that is yet to come was noted under a clock that ran ahead.
    stale = last_seen is None or abs((now - datetime.fromisoformat(last_seen)).total_seconds()) >= LAST_SEEN_EVERY_S
    if fresh == stored and not stale:
        return None
    fresh["lastSeen"] = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return fresh


def _engine(engine: EngineFound) -> Json:
    """Without what is empty: every board has some, and they are listed by the thousand."""
    whole = DeviceEngine(
        name=engine.name[:64],
        version=engine.version[:64],
        code=engine.code[:64],
        message=engine.message[:_MAX_REASON],
        accelerators=[
            DeviceAccelerator(
                name=a.name[:64], description=a.description[:128], code=a.code[:64], message=a.message[:_MAX_REASON]
            )
            for a in engine.accelerators[:_MAX_ENGINES]
        ],
    ).dump()
    whole["accelerators"] = [{k: v for k, v in a.items() if v} for a in whole["accelerators"]]
    return {k: v for k, v in whole.items() if v}


def _slot(device: str, name: str, slot: SlotReported, version_of: VersionOf) -> Json:
    desired = _digest(slot.desired)
    return DeviceSlot(
        slot=name,
        phase=slot.phase,
        current=_digest(slot.current),
        current_version=slot.current_version[:253],
        desired=desired,
        desired_version=version_of(device, name, desired) if desired else "",
        previous=_digest(slot.previous),
        code=slot.code[:64],
        message=slot.message[:_MAX_TEXT],
        progress=f"{slot.received_chunks}/{slot.total_chunks}" if slot.total_chunks else "",
    ).dump()


def _digest(text: str | None) -> str | None:
    return text if text is not None and is_digest(text) else None


def _bytes(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < _LARGEST else None

"""What a person may set on a board: a TOML file. Anything it doesn't know is refused with the key's path."""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from litefleet_agent.errors import AgentError
from litefleet_protocol.codes import Code
from litefleet_protocol.limits import MAX_SLOTS
from litefleet_protocol.names import is_name

T = TypeVar("T")


class DirectorySource(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="directory"):
    """Files of a folder in name order: .png, .jpg, .jpeg, .npy."""

    path: str
    rate_hz: float = 20.0
    """Inputs a second; 0 goes as fast as the model answers."""
    loop: bool = True


class FileSink(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="file"):
    """One JSON line an input, appended."""

    path: str


class NoSink(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="none"):
    """Answers go nowhere; telemetry still counts them."""


class PipelineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a slot's inputs come from, and where its answers go."""

    source: DirectorySource
    sink: FileSink | NoSink = NoSink()


class TelemetryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How telemetry is gathered."""

    window_seconds: float = 10.0


class LimitsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What a check or an inference may cost before it is given up."""

    check_seconds: float = 120.0
    check_memory_bytes: int = 2 * 1024**3
    hang_seconds: float = 30.0
    """An inference longer than this has hung."""


class RuntimeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How models are run."""

    threads: int = 1
    accelerator: str = ""
    """What the engine computes on, as `litefleet-agent doctor` lists it; the processor when empty."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; every part has a default."""

    telemetry: TelemetryConfig = TelemetryConfig()
    limits: LimitsConfig = LimitsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    pipelines: dict[str, PipelineConfig] = {}


def load(path: Path | None) -> Config:
    """Read `path`; the defaults when there is none. Relative paths in it are relative to its folder.

    Raises:
        AgentError: `BadMessage` with the key's path as `field`.
    """
    if path is None:
        return Config()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise AgentError(Code.BAD_MESSAGE, f"can't read {path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise AgentError(Code.BAD_MESSAGE, f"{path} is not TOML: {e}") from e
    pipelines = raw.pop("pipelines", {})
    if not isinstance(pipelines, dict):
        raise AgentError(Code.BAD_MESSAGE, "must be a table of slots", field="pipelines")
    config = msgspec.structs.replace(
        _read(raw, Config, ""),
        pipelines={slot: _read(part, PipelineConfig, f"pipelines.{slot}") for slot, part in pipelines.items()},
    )
    _check(config)
    return _anchored(config, path.parent)


def _read(raw: object, kind: type[T], at: str) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as e:
        message, _, where = str(e).partition(" - at ")
        unknown = re.search(r"unknown field `(.*)`", message)
        steps = [at, where.strip("`").removeprefix("$").removeprefix("."), unknown.group(1) if unknown else ""]
        field = ".".join(step for step in steps if step)
        raise AgentError(Code.BAD_MESSAGE, "there is no such setting" if unknown else message, field=field) from e


def _check(config: Config) -> None:
    _at_least(config.telemetry.window_seconds, 0.1, 3600, "telemetry.window_seconds")
    _at_least(config.limits.check_seconds, 1, 3600, "limits.check_seconds")
    _at_least(config.limits.check_memory_bytes, 64 * 1024**2, 2**50, "limits.check_memory_bytes")
    _at_least(config.limits.hang_seconds, 0.1, 3600, "limits.hang_seconds")
    _at_least(config.runtime.threads, 1, 64, "runtime.threads")
    if len(config.pipelines) > MAX_SLOTS:
        raise AgentError(Code.BAD_MESSAGE, f"more than {MAX_SLOTS} pipelines", field="pipelines")
    for slot, pipeline in config.pipelines.items():
        if not is_name(slot):
            raise AgentError(Code.INVALID_NAME, f"{slot!r} can't name a slot", field=f"pipelines.{slot}")
        _at_least(pipeline.source.rate_hz, 0, 10_000, f"pipelines.{slot}.source.rate_hz")


def _at_least(value: float, low: float, high: float, field: str) -> None:
    if not low <= value <= high:
        raise AgentError(Code.BAD_MESSAGE, f"{value} is not between {low} and {high}", field=field)


def _anchored(config: Config, folder: Path) -> Config:
    pipelines = {
        slot: msgspec.structs.replace(
            p,
            source=msgspec.structs.replace(p.source, path=str(folder / p.source.path)),
            sink=FileSink(str(folder / p.sink.path)) if isinstance(p.sink, FileSink) else p.sink,
        )
        for slot, p in config.pipelines.items()
    }
    return msgspec.structs.replace(config, pipelines=pipelines)

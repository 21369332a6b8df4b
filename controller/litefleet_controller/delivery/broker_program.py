"""Where mosquitto and its dynamic security plugin are on this machine.

Looked for in this order: LITEFLEET_MOSQUITTO, the PATH, /usr/sbin (which an ordinary user's PATH lacks), the
project's cache (where scripts/get-mosquitto unpacks Debian's packages for people without root).
"""

import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.delivery.errors import DeliveryError

PROGRAM_VARIABLE = "LITEFLEET_MOSQUITTO"
PLUGIN_VARIABLE = "LITEFLEET_MOSQUITTO_DYNSEC"
PLUGIN_FILE = "mosquitto_dynamic_security.so"
CACHE = Path(".cache") / "mosquitto"
"""The project's cache, from the working directory."""


class BrokerError(DeliveryError):
    """The embedded broker can't run. The message says what to do."""


class BrokerMissingError(BrokerError):
    """There is no mosquitto, or not its dynamic security plugin."""


@dataclass(frozen=True, slots=True)
class BrokerProgram:
    """What is started."""

    executable: Path
    plugin: Path
    library_path: str | None
    """LD_LIBRARY_PATH for a program that was unpacked, not installed."""


def find_program(environment: Mapping[str, str], cache: Path = CACHE) -> BrokerProgram:
    """The first mosquitto that has its plugin.

    Raises:
        BrokerMissingError: there is none, or what a variable names isn't there.
    """
    without_plugin = ""
    for executable in _executables(environment, cache.absolute()):
        plugin = _plugin(environment, executable)
        if plugin is not None:
            return BrokerProgram(executable, plugin, _library_path(executable, plugin))
        without_plugin = f"{executable} has no {PLUGIN_FILE} beside it"
    raise BrokerMissingError(
        f"the MQTT broker is missing ({without_plugin or 'no mosquitto found'}): install the package mosquitto, "
        f"version 2.0 or later ('apt-get install mosquitto'), or run scripts/get-mosquitto, "
        f"or set {PROGRAM_VARIABLE} and {PLUGIN_VARIABLE} to the program and its plugin"
    )


def _executables(environment: Mapping[str, str], cache: Path) -> Iterator[Path]:
    named = environment.get(PROGRAM_VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise BrokerMissingError(f"{PROGRAM_VARIABLE} names {named}, which isn't an executable file")
        yield Path(named).absolute()
        return
    found = shutil.which("mosquitto", path=environment.get("PATH", ""))
    candidates = [Path(found)] if found else []
    candidates += [Path("/usr/sbin/mosquitto"), Path("/usr/local/sbin/mosquitto"), cache / "usr/sbin/mosquitto"]
    yield from (path.absolute() for path in candidates if shutil.which(path) is not None)


def _plugin(environment: Mapping[str, str], executable: Path) -> Path | None:
    named = environment.get(PLUGIN_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BrokerMissingError(f"{PLUGIN_VARIABLE} names {named}, which isn't a file")
        return Path(named).absolute()
    for prefix in (executable.parents[1], executable.resolve().parents[1]):
        found = [path for folder in ("lib", "lib64") for path in _in_library(prefix / folder)]
        # A machine may hold libraries for other processors too.
        found.sort(key=lambda path: not path.parent.name.startswith(platform.machine()))
        if found:
            return found[0]
    return None


def _in_library(folder: Path) -> list[Path]:
    return [path for path in (folder / PLUGIN_FILE, *sorted(folder.glob(f"*/{PLUGIN_FILE}"))) if path.is_file()]


def _library_path(executable: Path, plugin: Path) -> str | None:
    prefix = executable.parents[1]
    if prefix in {Path("/usr"), Path("/usr/local"), Path("/")}:
        return None
    # A package unpacked to ROOT has its libraries in ROOT/usr/lib/<processor>, some in ROOT/lib/<processor>.
    folders = [plugin.parent, prefix.parent / "lib" / plugin.parent.name]
    return ":".join(str(folder) for folder in folders if folder.is_dir())

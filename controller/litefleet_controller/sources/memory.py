"""What was found behind a URI, so that a file that hasn't changed isn't fetched again for the next Model.

Only a hint: the blob that an entry names may be gone, and an entry that can't be read is none.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.durable import write_file
from litefleet_controller.sources.partial import Validator


class Seen(Struct, frozen=True, kw_only=True):
    """What a URI gave when it was last fetched."""

    uri: str
    validator: Validator
    digest: str


class Memory:
    """Entries in a folder, named by the hash of the URI. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, uri: str) -> Seen | None:
        """What was found behind `uri`."""
        try:
            seen = msgspec.json.decode((self._folder / f"{name}.json").read_bytes(), type=Seen)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return seen if seen.uri == uri else None

    def write(self, name: str, seen: Seen) -> None:
        """Remember it.

        Raises: StorageFullError, OSError.
        """
        write_file(self._folder / f"{name}.json", msgspec.json.encode(seen))

"""A model's files are hashed on every load, whatever the engine.

Of five models with two swapped chunks four load and answer wrongly.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from litefleet_agent.runtime.interface import ModelError
from litefleet_protocol.codes import Code


def check_files(path: Path, digest: str, beside: Mapping[str, str]) -> None:
    """Hash `path`, whose SHA-256 must be `digest`, and the files `beside` it, by name.

    Raises:
        ModelError: `DigestMismatch`, naming the file.
    """
    for file, wanted in ((path, digest), *((path.with_name(name), other) for name, other in beside.items())):
        try:
            with file.open("rb") as content:
                found = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
        except FileNotFoundError as e:
            raise ModelError(Code.DIGEST_MISMATCH, f"{file.name} is missing on the disk") from e
        if found != wanted:
            raise ModelError(Code.DIGEST_MISMATCH, f"{file.name} is damaged on the disk")

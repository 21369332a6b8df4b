"""Asking the `vouch` child: the parent's side, without cryptography.

Called by `enroll` (a key and a CSR) and `verify` (signatures). The child gets one task and a deadline.
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from litefleet_agent.errors import AgentError
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import SigningKey
from litefleet_protocol.envelope import PayloadType

TIMEOUT_S = 60.0
"""A slow board under load takes seconds to start Python; more than this is a hang."""


class KeyTask(Struct, frozen=True, tag="key"):
    """Make a key at `path` (0600; one that is there is kept) and answer with a CSR for `name`."""

    name: str
    path: str


class Sealed(Struct, frozen=True):
    """One envelope to check, as it came."""

    kind: PayloadType
    data: bytes
    max_bytes: int


class CheckTask(Struct, frozen=True, tag="check"):
    """Check several envelopes against the pinned keys."""

    keys: tuple[SigningKey, ...]
    envelopes: tuple[Sealed, ...]


class ReadTask(Struct, frozen=True, tag="read"):
    """Read certificates, PEM."""

    certificates: tuple[str, ...]


class Validity(Struct, frozen=True):
    """How long a certificate is good for, Unix seconds."""

    not_before: float
    not_after: float


class Opened(Struct, frozen=True):
    """The answer for one envelope: its payload, or the code of the refusal."""

    payload: bytes = b""
    code: str = ""
    message: str = ""


class KeyMade(Struct, frozen=True):
    """The answer to `KeyTask`: the request, PEM."""

    csr: str


A = TypeVar("A")


def open_envelopes(keys: tuple[SigningKey, ...], envelopes: Sequence[Sealed]) -> list[Opened]:
    """Check `envelopes` in one child; an answer for each, in order.

    Raises:
        AgentError: `Internal` when the child failed or took too long.
    """
    return _ask(CheckTask(keys, tuple(envelopes)), list[Opened])


def make_key(name: str, path: str) -> KeyMade:
    """Make a private key at `path` and a CSR for it.

    Raises:
        AgentError: `Internal` when the child failed or took too long.
    """
    return _ask(KeyTask(name, path), KeyMade)


def read_certificates(certificates: Sequence[str]) -> list[Validity]:
    """The dates of certificates (PEM; of a chain the first), in order.

    Raises:
        AgentError: `Internal` when the child failed, also for what is no certificate.
    """
    return _ask(ReadTask(tuple(certificates)), list[Validity])


def _ask(task: KeyTask | CheckTask | ReadTask, answer: type[A]) -> A:
    command = [sys.executable, "-m", "litefleet_agent.vouch"]
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(task), capture_output=True, timeout=TIMEOUT_S, check=True
        )
        return msgspec.json.decode(done.stdout, type=answer)
    except subprocess.CalledProcessError as e:
        last = e.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise AgentError(Code.INTERNAL, f"the child for keys and signatures failed: {last[:300]}") from e
    except (subprocess.TimeoutExpired, OSError, msgspec.MsgspecError) as e:
        raise AgentError(Code.INTERNAL, f"the child for keys and signatures gave no answer: {e}") from e

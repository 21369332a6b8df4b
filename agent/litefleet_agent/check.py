"""Trying an artifact out, in a process that may die of it: `python -m litefleet_agent.check DIR`.

A malformed model can segfault LiteRT, never return, or eat the memory; so it is loaded here first, under limits. It
must have the manifest's signature and answer its golden samples as it did when it was converted. Prints one JSON
`Verdict`; whoever gets none (`trial`) reads the exit code. Signatures are checked elsewhere.
"""

import argparse
import base64
import ctypes
import resource
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.fileio import Disk
from litefleet_agent.slots import ArtifactFolder
from litefleet_protocol import codec, envelope
from litefleet_protocol.codes import Code
from litefleet_protocol.limits import MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactManifest


class Verdict(Struct, frozen=True):
    """How it went; an empty code is good."""

    code: str = ""
    message: str = ""
    samples: int = 0
    worst: float = 0.0
    """Largest absolute difference from a golden output."""


def main() -> None:
    """Set the limits, check, print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m litefleet_agent.check")
    parser.add_argument("directory", type=Path, help="an artifact's folder")
    parser.add_argument("--memory-bytes", type=int, default=0, help="limit of address space; 0 for none")
    parser.add_argument("--cpu-seconds", type=int, default=0, help="limit of processor time; 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    _die_with_parent()
    _limit(resource.RLIMIT_CORE, 0)
    if arguments.memory_bytes:
        _limit(resource.RLIMIT_AS, arguments.memory_bytes)
    if arguments.cpu_seconds:
        _limit(resource.RLIMIT_CPU, arguments.cpu_seconds)
    try:
        verdict = _check(arguments.directory, arguments.threads)
    except MemoryError:
        verdict = Verdict(str(Code.MEMORY_LIMIT), f"needs more than {arguments.memory_bytes} bytes")
    sys.stdout.buffer.write(msgspec.json.encode(verdict))
    sys.stdout.flush()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the agent dies, however it dies: nobody else would."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard == resource.RLIM_INFINITY or value <= hard:
        resource.setrlimit(what, (value, value))


def _check(directory: Path, threads: int) -> Verdict:
    # Imported under the limits, and only here: they are most of what this process costs.
    from litefleet_agent.golden import compare, read_golden
    from litefleet_agent.runtime.interface import ModelError, mismatch
    from litefleet_agent.runtime.litert import LiteRT

    folder = ArtifactFolder(Disk(), directory)
    manifest = _manifest(folder.sealed_manifest() or b"")
    digests = {f.name: f.digest for f in manifest.files}
    try:
        model = LiteRT().load(folder.file("model.tflite"), threads=threads, digest=digests.get("model.tflite", ""))
        different = mismatch(manifest.signature, model.signature)
        if different is not None:
            return Verdict(str(different[0]), different[1])
        labels = manifest.postprocess.labels
        classes = manifest.signature.outputs[0].shape[-1] if manifest.signature.outputs else 0
        if manifest.postprocess.kind == "classification" and len(labels) > classes:
            return Verdict(str(Code.SIGNATURE_CHANGED), f"{classes} classes for {len(labels)} labels")
        golden = read_golden(folder.file("golden.npz"), manifest.signature) if "golden.npz" in digests else []
        worst = max((compare(model.infer(g.inputs), g.outputs, manifest.golden_tolerance) for g in golden), default=0.0)
    except ModelError as e:
        return Verdict(str(e.code), str(e))
    return Verdict(samples=len(golden), worst=worst)


def _manifest(sealed: bytes) -> ArtifactManifest:
    payload = base64.b64decode(envelope.parse(sealed, max_bytes=MAX_MANIFEST_BYTES).payload)
    return codec.decode(ArtifactManifest, payload, max_bytes=MAX_MANIFEST_BYTES)


if __name__ == "__main__":
    main()

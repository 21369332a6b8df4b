"""A file that was compiled elsewhere, in a sentence: for `describe` and `explain`, of which only one loads much."""

from typing import Any

from litefleet_controller.cli.printing import size

Json = dict[str, Any]


def prebuilt_line(prebuilt: Json) -> str:
    """What a file that was compiled elsewhere says of itself."""
    left = ", ".join(f"{count} {name}" for name, count in (prebuilt.get("left") or {}).items()) or "nothing"
    by = f"by compiler {prebuilt['compiler']}" if prebuilt.get("compiler") else "by a compiler that it doesn't name"
    return (
        f"compiled {by}: {prebuilt['programs']} operators for the accelerator ({size(prebuilt['programBytes'])}), "
        f"{left} on the processor; needs its runtime {prebuilt['runtimeVersion']} or newer"
    )

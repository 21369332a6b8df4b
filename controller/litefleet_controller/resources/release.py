"""Releases of the engines on boards, and which is older: what DeviceClasses declare and boards report. Pure.

LiteRT has had two distributions. tflite-runtime counted as TensorFlow does, up to 2.14 (2023); ai-edge-litert, which
came after it, began anew at 1.0. So a bare number is read by what exists: 1.x and 2.0 to 2.4 are ai-edge-litert's, 2.5
and above tflite-runtime's. Whoever means another one writes its name: `ai-edge-litert 2.5`.
"""

import re
from dataclasses import dataclass
from functools import total_ordering

PATTERN = r"^([a-z][a-z0-9-]*(==| ))?[0-9]{1,6}(\.[0-9]{1,6}){0,3}(\.?(a|b|rc|dev|post)[0-9]+)*([+-][0-9a-z.+-]+)?$"
"""A version, with the distribution's name in front where the number alone isn't clear."""

LITERT = ("tflite-runtime", "ai-edge-litert")
"""The distributions of LiteRT's interpreter, in the order of their time."""
_FIRST_BARE_TFLITE = (2, 5)


@total_ordering
@dataclass(frozen=True, slots=True)
class Release:
    """One release of an engine. Comparable within an engine."""

    distribution: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.distribution} {'.'.join(map(str, self.numbers))}"

    def __lt__(self, other: "Release") -> bool:
        return (_age(self.distribution), self.numbers) < (_age(other.distribution), other.numbers)


def parse_release(runtime: str, text: str) -> Release | None:
    """What `text` says of the engine `runtime`; None when it isn't a version.

    Suffixes (`rc1`, `.dev2025`, `+cpu`) are left out: a release candidate counts as the release.
    """
    found = re.match(PATTERN, text.strip())
    if found is None:
        return None
    name, _, rest = text.strip().replace("==", " ").rpartition(" ")
    digits = re.match(r"[0-9]+(\.[0-9]+)*", rest)
    if digits is None:
        return None
    numbers = tuple(int(n) for n in digits.group().split("."))
    if not name:
        name = runtime if runtime != "litert" else _litert(numbers)
    return Release(name, numbers)


def _age(distribution: str) -> int:
    return LITERT.index(distribution) if distribution in LITERT else 0


def _litert(numbers: tuple[int, ...]) -> str:
    return LITERT[0] if numbers >= _FIRST_BARE_TFLITE else LITERT[1]

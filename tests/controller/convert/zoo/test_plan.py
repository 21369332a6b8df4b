"""What is built for which input: plans, and what the documentation says of the architectures."""

import re
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.zoo.every import ARCHITECTURES, architecture
from litefleet_controller.convert.zoo.interface import Architecture, strides

PAGE = Path(__file__).parents[4] / "docs" / "models.md"


@pytest.mark.parametrize(
    ("side", "kept"), [(224, 5), (96, 5), (64, 4), (48, 4), (32, 3), (28, 3), (24, 3), (16, 2), (8, 1)]
)
def test_a_small_input_is_halved_as_often_as_leaves_a_map_to_look_at(side: int, kept: int) -> None:
    assert strides(side, 5) == (1,) * (5 - kept) + (2,) * kept
    assert side / 2**kept >= 3


def test_the_last_halving_stays_however_small_the_input() -> None:
    assert strides(4, 5) == (1, 1, 1, 1, 2)


def test_the_shorter_side_decides() -> None:
    assert architecture("squeezenet").plan((32, 640, 3), 10).strides == (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("shape", "classes", "width", "says"),
    [
        ((4, 32, 3), 10, 1.0, "4x32x3"),
        ((5000, 32, 3), 10, 1.0, "8 to 4096 pixels"),
        ((32, 32, 4), 10, 1.0, "channels 1 (grey) or 3 (RGB)"),
        ((32, 32, 3), 1, 1.0, "1 classes"),
        ((32, 32, 3), 10, 0.4, "0.35, 0.5, 0.75, 1, 1.3, 1.4"),
        ((32, 32, 3), 10, float("nan"), "no width nan"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_can(
    shape: tuple[int, int, int], classes: int, width: float, says: str
) -> None:
    with pytest.raises(ConversionError) as refused:
        architecture("mobilenet-v2").plan(shape, classes, width)
    assert (refused.value.code, refused.value.final) == ("InvalidArgument", True)
    assert says in str(refused.value)


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConversionError, match="'resnet50'; there are mobilenet-v2, "):
        architecture("resnet50")


def documented() -> dict[str, list[str]]:
    """Rows of the page's table, by the name in their first cell."""
    rows = (line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    return {cells[0].strip(" `"): [c.strip() for c in cells[1:]] for cells in rows}


def test_the_page_lists_the_architectures_that_there_are() -> None:
    assert list(documented()) == [a.name for a in ARCHITECTURES]


@pytest.mark.parametrize("known", ARCHITECTURES, ids=lambda a: a.name)
def test_the_page_says_what_the_code_says(known: Architecture) -> None:
    paper, parameters, widths, good_for = documented()[known.name]
    assert re.sub(r"\[(.*?)\]\(.*?\)", r"\1", paper) == known.paper
    assert parameters == f"{known.parameters:,}"
    assert widths == ", ".join(f"{w:g}" for w in known.widths)
    assert good_for == known.good_for

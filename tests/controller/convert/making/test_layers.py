"""Which layers are spared, as a table; what is measured of them stands in test_local.py."""

import pytest

from litefleet_controller.convert.making.layers import Layer, growing


def ranked(*weights: int) -> list[tuple[Layer, float]]:
    return [(Layer(f"layer{i};", "CONV_2D", n), 1 / (i + 1)) for i, n in enumerate(weights)]


@pytest.mark.parametrize(
    ("weights", "share", "taken"),
    [
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 91), 0.5, [(), (0,), (0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5, 6, 7), tuple(range(9))]),
        ((10, 10, 10, 10), 0.5, [(), (0,), (0, 1)]),
        ((60, 10, 30), 0.5, [(), (1,), (1, 2)]),
        ((60, 60), 0.4, [()]),
        ((), 0.5, [()]),
        ((0, 0, 0), 0.0, [(), (0,), (0, 1), (0, 1, 2)]),
    ],
)  # fmt: skip
def test_the_worst_are_taken_by_ones_twos_and_fours_while_their_weights_are_few(
    weights: tuple[int, ...], share: float, taken: list[tuple[int, ...]]
) -> None:
    steps = growing(ranked(*weights), sum(weights), share)
    assert [tuple(int(layer.name.removeprefix("layer")) for layer, _ in step) for step in steps] == taken

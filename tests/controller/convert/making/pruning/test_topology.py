"""Which filters could go, as far as a model's configuration tells."""

from typing import Any

import pytest

from litefleet_controller.convert.making.pruning.topology import Channels, Segment, Topology, topology


class Graph:
    """A functional model's configuration, layer by layer."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.shapes: dict[str, tuple[int | None, ...]] = {}

    def __call__(self, kind: str, name: str, *inputs: str, shape: tuple[int, ...] = (8, 8, 4), **config: Any) -> str:
        given = [
            {"class_name": "__keras_tensor__", "config": {"shape": self.shapes[i], "keras_history": [i, 0, 0]}}
            for i in inputs
        ]
        args = [given] if len(given) > 1 else given
        nodes = [{"args": args, "kwargs": {}}] if inputs else []
        self.layers.append({"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes})
        self.shapes[name] = (None, *shape)
        return name

    def read(self, output: str) -> Topology:
        return topology({"layers": self.layers, "output_layers": [output, 0, 0]})


@pytest.fixture
def graph() -> Graph:
    made = Graph()
    made("InputLayer", "input", shape=(8, 8, 3))
    return made


def chain(graph: Graph, *between: str, activation: str = "linear") -> Topology:
    x = graph("Conv2D", "first", "input", filters=4, activation=activation)
    for number, kind in enumerate(between):
        x = graph(kind, f"between{number}", x)
    x = graph("Conv2D", "second", x, filters=10)
    return graph.read(graph("GlobalAveragePooling2D", "pool", x, shape=(10,)))


def test_filters_go_when_all_that_reads_them_mixes_channels(graph: Graph) -> None:
    found = chain(graph, "BatchNormalization", "ReLU", "DepthwiseConv2D", "MaxPooling2D")
    assert found.makers == {"first": 4}
    assert found.taken["second"] == Channels((Segment("first", 4, is_activated=True),))
    assert found.barriers == {"second": "the model's answer"}


def test_a_convolutions_own_activation_counts(graph: Graph) -> None:
    assert chain(graph, activation="relu").makers == {"first": 4}


def test_a_linear_bottleneck_stays(graph: Graph) -> None:
    found = chain(graph, "BatchNormalization")
    assert found.makers == {}
    assert found.barriers["first"] == "a linear bottleneck's"


@pytest.mark.parametrize("kind", ["Reshape", "Permute", "LayerNormalization", "MultiHeadAttention", "NobodyKnowsThis"])
def test_what_may_mix_channels_in_a_way_of_its_own_is_a_barrier(graph: Graph, kind: str) -> None:
    found = chain(graph, "ReLU", kind)
    assert found.makers == {}
    assert found.barriers["first"] == f"which go into {kind} 'between1'"
    assert found.taken["second"] == Channels((Segment("", 4),))


@pytest.mark.parametrize("kind", ["Add", "Multiply"])
def test_what_is_added_or_multiplied_stays_on_both_sides(graph: Graph, kind: str) -> None:
    one = graph("Conv2D", "one", "input", filters=4, activation="relu")
    two = graph("Conv2D", "two", one, filters=4, activation="relu")
    x = graph(kind, "both", one, two)
    found = graph.read(graph("Conv2D", "last", x, filters=10))
    assert found.makers == {}
    assert set(found.barriers) == {"one", "two", "last"}


def test_the_middle_of_an_inverted_residual_goes_and_its_ends_stay(graph: Graph) -> None:
    ends = graph("Conv2D", "stem", "input", filters=4, activation="relu")
    x = graph("Conv2D", "expand", ends, filters=24, shape=(8, 8, 24))
    for kind in ("BatchNormalization", "ReLU", "DepthwiseConv2D", "BatchNormalization", "ReLU"):
        x = graph(kind, f"{kind}-{len(graph.layers)}", x, shape=(8, 8, 24))
    x = graph("Conv2D", "project", x, filters=4)
    x = graph("Add", "residual", ends, x)
    assert graph.read(graph("Conv2D", "last", x, filters=10)).makers == {"expand": 24}


def test_side_by_side_channels_are_told_apart(graph: Graph) -> None:
    squeezed = graph("Conv2D", "squeeze", "input", filters=2, activation="relu", shape=(8, 8, 2))
    one = graph("Conv2D", "one", squeezed, filters=4, activation="relu")
    three = graph("Conv2D", "three", squeezed, filters=6, activation="relu", shape=(8, 8, 6))
    x = graph("Concatenate", "fire", one, three, shape=(8, 8, 10), axis=-1)
    found = graph.read(graph("Conv2D", "last", x, filters=10))
    assert found.makers == {"squeeze": 2, "one": 4, "three": 6}
    assert found.taken["last"] == Channels((Segment("one", 4, True), Segment("three", 6, True)))


def test_a_concatenation_of_pixels_is_a_barrier(graph: Graph) -> None:
    one = graph("Conv2D", "one", "input", filters=4, activation="relu")
    two = graph("Conv2D", "two", "input", filters=4, activation="relu")
    x = graph("Concatenate", "pixels", one, two, axis=1)
    assert graph.read(graph("Conv2D", "last", x, filters=10)).makers == {}


def test_a_flattened_image_has_its_channels_once_a_pixel(graph: Graph) -> None:
    x = graph("Conv2D", "first", "input", filters=4, activation="relu", shape=(3, 2, 4))
    x = graph("Flatten", "flat", x, shape=(24,))
    found = graph.read(graph("Dense", "answer", x, units=10, activation="softmax"))
    assert found.taken["answer"] == Channels((Segment("first", 4, True),), repeats=6)
    assert found.makers == {"first": 4}


@pytest.mark.parametrize("config", [{"groups": 2}, {"data_format": "channels_first"}])
def test_grouped_and_channels_first_convolutions_are_barriers(graph: Graph, config: dict[str, Any]) -> None:
    x = graph("Conv2D", "first", "input", filters=4, activation="relu")
    x = graph("Conv2D", "odd", x, filters=4, activation="relu", **config)
    assert graph.read(graph("Conv2D", "last", x, filters=10)).makers == {}


def test_a_layer_that_is_used_twice_is_a_barrier(graph: Graph) -> None:
    x = graph("Conv2D", "first", "input", filters=4, activation="relu")
    y = graph("Conv2D", "shared", x, filters=4, activation="relu")
    graph.layers[-1]["inbound_nodes"] *= 2
    assert graph.read(graph("Conv2D", "last", y, filters=10)).makers == {}

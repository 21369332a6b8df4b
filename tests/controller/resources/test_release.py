"""Which of two releases is older, across two distributions that count differently."""

import pytest

from litefleet_controller.resources.release import Release, parse_release


@pytest.mark.parametrize(
    ("text", "distribution", "numbers"),
    [
        ("2.3.0", "ai-edge-litert", (2, 3, 0)),
        ("1.4", "ai-edge-litert", (1, 4)),
        ("2.14.0", "tflite-runtime", (2, 14, 0)),
        ("2.5.0.post1", "tflite-runtime", (2, 5, 0)),
        ("ai-edge-litert 2.14", "ai-edge-litert", (2, 14)),
        ("ai-edge-litert==2.3.0", "ai-edge-litert", (2, 3, 0)),
        (" tflite-runtime 2.1.0rc1 ", "tflite-runtime", (2, 1, 0)),
        ("2.20.0.dev20250409", "tflite-runtime", (2, 20, 0)),
    ],
)
def test_a_release_is_read_with_or_without_its_name(text: str, distribution: str, numbers: tuple[int, ...]) -> None:
    assert parse_release("litert", text) == Release(distribution, numbers)


@pytest.mark.parametrize("text", ["", "newest", "2.x", "v2.3", "2..3", "2.3\n4", "-1", "9" * 400, "1.2.3.4.5"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse_release("litert", text) is None


def test_tflite_runtime_is_older_than_every_ai_edge_litert() -> None:
    texts = ["2.14.0", "ai-edge-litert 1.0", "1.0.1", "1.4.0", "2.0.3", "2.3.0", "ai-edge-litert 2.14"]
    releases = [parse_release("litert", t) for t in texts]
    assert releases == sorted(releases)  # type: ignore[type-var]


def test_other_engines_count_for_themselves() -> None:
    older, newer = parse_release("openvino", "2022.3"), parse_release("openvino", "2024.1.0")
    assert older is not None
    assert newer is not None
    assert older < newer
    assert str(newer) == "openvino 2024.1.0"

"""Every manifest that ships is one that the server admits as it stands."""

from pathlib import Path

import pytest

from litefleet_controller.resources.admission import admit, prune
from litefleet_controller.resources.manifest import parse_documents
from litefleet_controller.resources.meta import API_VERSION
from litefleet_controller.resources.registry import Registry

MANIFESTS = Path(__file__).parents[3] / "manifests"
FILES = sorted([*(MANIFESTS / "examples").glob("*.yaml"), *(MANIFESTS / "classes").glob("*.yaml")])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_shipped_manifest_is_admitted(path: Path) -> None:
    for document in parse_documents(path.read_bytes(), source_name=path.name):
        assert document["apiVersion"] == API_VERSION
        kind = Registry().kind(document["kind"])
        assert kind is not None
        body, unknown = prune(kind, document)
        assert unknown == []
        admit(kind, body, None)


def test_classes_are_named_after_their_file() -> None:
    for path in (MANIFESTS / "classes").glob("*.yaml"):
        (document,) = parse_documents(path.read_bytes(), source_name=path.name)
        assert (document["kind"], document["metadata"]["name"]) == ("DeviceClass", path.stem)


def test_examples_are_numbered_without_a_gap() -> None:
    numbers = [int(p.name[:2]) for p in sorted((MANIFESTS / "examples").glob("*.yaml"))]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 4


def test_every_template_that_an_example_names_is_in_it() -> None:
    for path in (MANIFESTS / "examples").glob("*.yaml"):
        documents = parse_documents(path.read_bytes(), source_name=path.name)
        templates = {d["metadata"]["name"] for d in documents if d["kind"] == "AnalysisTemplate"}
        for document in documents:
            steps = document["spec"].get("strategy", {}).get("canary", {}).get("steps", [])
            named = {t["templateName"] for s in steps for t in s.get("analysis", {}).get("templates", [])}
            assert named <= templates

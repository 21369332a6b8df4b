"""A short sample of every benchmark: it runs and says something. Its figures are no figures."""

import json

import pytest

from tests.benchmarks import BENCHMARKS
from tests.figures import Run


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_sample_runs(name: str) -> None:
    figures = BENCHMARKS[name](Run(sample=True))
    assert figures
    for figure in figures:
        assert set(json.loads(json.dumps(figure.json()))) >= {"name", "value", "goal", "met", "seed", "conditions"}

"""What a board is on its way from and to when it is killed, and where it must arrive all the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.agent.artifacts import DATA, WIDE_SIGNATURE, Key, Made, golden_for, make, make_from


@dataclass(frozen=True)
class Scenario:
    """Slots to models, by their names in `artifacts`. `history` is what was assigned and came to serve before, in order;
    `after` is what serves in the end.
    """

    name: str
    history: Sequence[Mapping[str, str]]
    wanted: Mapping[str, str]
    after: Mapping[str, str]
    errs: frozenset[str] = frozenset()
    """Slots where a bad model serves for a moment, so that inferences fail."""

    @property
    def before(self) -> Mapping[str, str]:
        return self.history[-1] if self.history else {}

    @property
    def counter(self) -> int:
        """Of the desired state."""
        return len(self.history) + 1

    def phase(self, slot: str) -> str:
        return "Updated" if self.wanted[slot] == self.after[slot] else "Failed"

    def earlier(self) -> "Scenario":
        """What came before this one."""
        return Scenario("earlier", self.history[:-1], self.before, self.before)


_A, _B, _BOTH = {"digits": "a"}, {"digits": "b"}, {"digits": "a", "letters": "b"}
SCENARIOS = (
    Scenario("upgrade", [_A], _B, _B),
    Scenario("first install", [], _A, _A),
    Scenario("fails in probation", [_A], {"digits": "nan"}, _A, frozenset({"digits"})),
    Scenario("fails its check", [_A], {"digits": "misfit"}, _A),
    Scenario("second slot", [_A], _BOTH, _BOTH),
    Scenario("same again", [_A], _A, _A),
    Scenario("third version", [_A, _B], {"digits": "c"}, {"digits": "c"}),
    Scenario("back to the one before", [_A, _B], _A, _A),
    Scenario("slot taken away", [_BOTH], _A, _A),
)
INPUTS = [np.eye(4, dtype=np.float32)[n] for n in (0, 1, 2, 0)]


def artifacts(key: Key) -> dict[str, Made]:
    """The models as a controller would publish them."""
    broken = (DATA / "wide-5-classes.tflite").read_bytes()
    logarithm = DATA / "log-4.tflite"
    return {
        "a": make_from(key, "a.tflite", version="a"),
        "b": make_from(key, "b.tflite", version="b"),
        "c": make_from(key, "a.tflite", version="c"),
        "misfit": make(key, broken, golden_for(DATA / "a.tflite"), version="misfit"),
        # NaN for what is below nought, which the golden samples aren't and every live input is.
        "nan": make(
            key,
            logarithm.read_bytes(),
            golden_for(logarithm, x=np.ones((1, 4), np.float32)),
            version="nan",
            signature=WIDE_SIGNATURE,
            postprocess=Postprocess(kind="none"),
            preprocess=Preprocess(offset=-5.0),
        ),
    }


def expected() -> dict[str, list[np.ndarray]]:
    """What LiteRT alone says to each input, for the models that may answer at all."""
    from tests.faults.oracle import run_bare  # here, because `faults` imports this package

    inputs = np.stack(INPUTS)
    a, b = (run_bare(DATA / f"{name}.tflite", inputs) for name in ("a", "b"))
    return {"a": a, "b": b, "c": a}

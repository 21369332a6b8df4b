"""What a version's status says of a variant."""

from litefleet_controller.convert.interface import Made, ModelFile
from litefleet_controller.convert.pruned import Pruned, PrunedLayer, PrunedVariant, Unpruned
from litefleet_controller.reconcile.variants import variant
from litefleet_protocol.tensors import Signature, TensorSpec

DIGEST = f"sha256:{'0' * 64}"


def made(pruned: PrunedVariant) -> Made:
    tensor = TensorSpec(name="x", shape=(1, 8, 8, 1), dtype="float32")
    return Made(
        recipe="pruned-int8", files=(ModelFile("model.tflite", DIGEST, 100),), golden=DIGEST, golden_size=6, golden_samples=4,
        golden_tolerance=0.01, signature=Signature(inputs=(tensor,), outputs=(tensor,)), operators={"CONV_2D": 3}, agreement=0.99,
        accuracy=0.97, source_accuracy=0.98, evaluated=400, toolchain={}, seconds=1.5, cached=False, pruned=pruned,
    )  # fmt: skip


def pruned(layers: int) -> Pruned:
    listed = tuple(PrunedLayer(f"layer{i}", 1000, 0.75) for i in range(layers))
    return Pruned(method="magnitude", sparsity=0.75, layers=listed, epochs=8, samples=1200, seed=1, note="")


def test_a_pruned_variant_tells_what_it_saved_and_what_that_cost_against_the_unpruned_one() -> None:
    plain = Unpruned(recipe="int8", size=100, compressed=70, agreement=1.0, accuracy=0.975)
    said = variant(made(PrunedVariant(pruned=pruned(2), compressed=40, unpruned=plain)), DIGEST).dump()["pruning"]
    assert said["unpruned"]["compressedBytes"] == 70
    assert said["compressedBytes"] == 40
    assert round(said["accuracyChange"], 6) == -0.005
    assert [layer["sparsity"] for layer in said["layers"]] == [0.75, 0.75]
    assert (said["epochs"], said["samples"], said["seed"]) == (8, 1200, 1)


def test_a_status_has_room_for_the_first_layers_and_counts_the_rest() -> None:
    said = variant(made(PrunedVariant(pruned=pruned(100), compressed=40, unpruned=None)), DIGEST).dump()["pruning"]
    assert (len(said["layers"]), said["layersLeftOut"]) == (64, 36)
    assert "accuracyChange" not in said

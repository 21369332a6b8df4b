"""What the demo applies: the same kinds of documents as manifests/examples."""

from typing import Any

from litefleet_controller.cli.demo.digits import SCALE

Json = dict[str, Any]

MODEL = "digits"
ROLLOUT = "digits"
NAMESPACE = "default"

LADDERS: dict[str, list[str]] = {
    # Too little memory for anything but int8: when int8 is not good enough, this class gets nothing new.
    "camera-int8": ["int8"],
    "raspberry-pi-4": ["int8", "float16"],
    "gateway-x86": ["int8", "dynamic-int8", "float32"],
}
"""Class to ladder. The class's own first choice is int8 everywhere, so that one bad calibration set concerns all."""
BOARDS_PER_CLASS = 3


def _document(kind: str, name: str, spec: Json) -> Json:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def device_classes() -> list[Json]:
    """Three classes of board."""
    limits = {"minAgreement": 0.97, "maxAccuracyDrop": 0.02, "maxArtifactBytes": 1_000_000}
    return [
        _document("DeviceClass", name, {"runtime": "litert", "variants": ladder, "limits": limits})
        for name, ladder in LADDERS.items()
    ]


def analysis_template() -> Json:
    """Healthy: about as sure, as balanced, as quick and as free of errors as the boards beside it."""
    return _document(
        "AnalysisTemplate",
        "healthy",
        {
            "minSamples": 250,
            "interval": "2s",
            "count": 2,
            "timeout": "90s",
            "metrics": [
                {"name": "errors", "metric": "errorRate", "maxIncrease": 0.02},
                # Nine agents and the controller share this machine's cores: only a gross slowdown means anything here.
                {"name": "latency", "metric": "latencyP95", "maxRatio": 10},
                {"name": "confidence", "metric": "confidence", "maxDrop": 0.1},
                {"name": "class-mix", "metric": "classMix", "maxPsi": 0.5},
            ],
        },
    )


def model(source: str, evaluation: str, calibration: str) -> Json:
    """The model; each argument is a `blob://` URI."""
    return _document(
        "Model",
        MODEL,
        {
            "source": {"uri": source, "format": "keras"},
            "input": {"preprocess": {"channels": 1, "scale": SCALE}},
            "output": {"labels": [str(d) for d in range(10)], "postprocess": {"kind": "classification"}},
            "calibration": {"uri": calibration, "samples": 200},
            "evaluation": {"uri": evaluation},
        },
    )


def rollout() -> Json:
    """One board of each class, then judge it against the other two, then everyone."""
    return _document(
        "ModelRollout",
        ROLLOUT,
        {
            "modelRef": {"name": MODEL, "version": "latest"},
            "selector": {"matchLabels": {"site": "demo"}},
            "strategy": {
                "canary": {
                    "steps": [
                        {"setWeight": 30},
                        {"analysis": {"templates": [{"templateName": "healthy"}]}},
                        {"setWeight": 100},
                    ],
                    "maxUnavailable": 3,
                }
            },
            "probationSeconds": 3,
            "deviceTimeoutSeconds": 120,
            "onFailure": "Rollback",
        },
    )

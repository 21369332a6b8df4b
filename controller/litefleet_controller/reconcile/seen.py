"""What a class's boards have measured so far, for the choice among a new version's variants.

Telemetry is kept by artifact; an artifact's manifest says which recipe of which version it is. Artifacts that are gone
are left out.
"""

from collections.abc import Sequence

from litefleet_controller.artifacts.errors import ArtifactNotFoundError, BlobError
from litefleet_controller.artifacts.manifest import ArtifactStore
from litefleet_controller.convert.latency import Seen, form_of
from litefleet_controller.telemetry.interface import ArtifactLatency, Telemetry
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.runtimes import GOLDEN_FILE

_MAX_ARTIFACTS = 20
"""The newest ones: a manifest is read for each."""


async def seen_on_boards(
    telemetry: Telemetry, artifacts: ArtifactStore, namespace: str, model: str, device_class: str
) -> tuple[Seen, ...]:
    """What boards of `device_class` measured with versions of `model`, the newest first."""
    found: Sequence[ArtifactLatency] = await telemetry.latencies(namespace, model, device_class)
    seen = []
    for measured in found[:_MAX_ARTIFACTS]:
        try:
            manifest = await artifacts.manifest(measured.artifact)
        except (ArtifactNotFoundError, BlobError):
            continue
        seen.append(seen_with(manifest, measured))
    return tuple(seen)


def seen_with(manifest: ArtifactManifest, measured: ArtifactLatency) -> Seen:
    """What was measured with an artifact."""
    latency = measured.latency_ms
    return Seen(
        recipe=manifest.variant,
        version=manifest.version,
        size=sum(f.size for f in manifest.files if f.name != GOLDEN_FILE),
        form=form_of(manifest.signature),
        p50_ms=latency.quantile(0.5),
        p95_ms=latency.quantile(0.95),
        p99_ms=latency.quantile(0.99),
        inferences=latency.count,
        devices=measured.devices,
    )

"""The litefleet control plane. Its packages are the stages of the flow; see docs/architecture.md."""

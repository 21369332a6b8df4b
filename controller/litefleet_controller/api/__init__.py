"""Serve: the Kubernetes-compatible REST API, and the fleet API beside it; errors become Status objects here."""

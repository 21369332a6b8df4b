"""Persist: objects with Kubernetes' semantics, assignments, the lease; SQLite or PostgreSQL behind SQLAlchemy."""

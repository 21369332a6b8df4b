"""Declare: the kinds of `litefleet.dev/v1alpha1` as pydantic models, and the registry that lists them.

The one source of validation, defaults, OpenAPI and printer columns. Knows nothing of storage or HTTP.
"""

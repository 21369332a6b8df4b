"""Every architecture for every class of board: trained, converted, checked, and compared with TFLiteConverter."""

from tests.benchmarks.catalog.measure import catalog

__all__ = ["catalog"]

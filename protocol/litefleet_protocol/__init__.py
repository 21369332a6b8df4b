"""The wire contract between a litefleet controller and its agents.

Both sides import this package and nothing of each other. It holds topics, messages, limits and codes, and the
arithmetic that both must do alike (chunk plans, histograms, signed envelopes). It does no I/O, reads no clock and
depends on msgspec alone, so that the smallest board can afford it.
"""

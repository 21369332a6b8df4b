"""Decide: pure functions from what is known to the next step. No I/O, no clock, no randomness; never the store."""

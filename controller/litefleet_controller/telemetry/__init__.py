"""Observe: windows in from the boards, in batches to the database, acknowledged, and out again as answers."""

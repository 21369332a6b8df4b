"""Architectures to begin with, one file each: what `litefleet model new` builds, untrained."""

"""Data sets and images as arrays, prepared as boards prepare them, and the few that go along as golden samples."""

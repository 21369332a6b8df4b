"""Figures that anyone can measure again: `python -m tests.benchmarks [NAME ...] [--json]`, or `make bench` for all.

A figure that misses its goal is reported as missed, never left out.
"""

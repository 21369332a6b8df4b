"""React: one reconciler a kind, and the runtime that decides when each of them runs.

A reconciler gets an identity, reads the state anew, and brings what is closer to what shall be. It may be run again at
any moment, and killed at any line.
"""

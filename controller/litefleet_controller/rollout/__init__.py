"""Decide: pure functions from what is known to the next step. No I/O, no clock, no randomness; never the store.

`decide.needs_evidence` and `decide.decide` are what the reconciler calls; `view` has what goes in and out. Where the
words of a ModelRollout leave a choice, this is what was chosen:

- Steps begin when conversion is decided (Ready, Refused or Failed) for every class of the selected boards: conversion
  is short, and classes judged together are easier to follow. A class that appears later starts at the current weight.
- A class whose stable version is the target has nothing to prove: its boards get it at once, within the budget. So
  going back to the stable version skips the steps, and boards that join after completion are updated directly.
- A class new to the rollout takes as stable the version that all its boards already serve; without one an abort
  empties the slot of the boards that got the target, and the message says so.
- A class is Complete by itself, when every board is terminal and one at least serves the target. `abort` leaves
  Complete classes where they are. The phase is Healthy when all are Complete, and Degraded when the last has come to
  its end and one was Refused or Aborted.
- `onFailure` holds for a failed analysis as well as for failed boards. The way back is never held by a pause.
- `successThreshold` is applied to the boards of the current weight, so a canary of one that fails is a failure.
- An edited spec goes on at the step it stands at. It retries aborted classes only once no other is on its way, and
  never for `paused` alone.
"""

"""Training a classifier on somebody's own images, to have something real to convert: `litefleet model train`.

Not a training framework: one optimizer, one schedule, no augmentation. Who needs more trains elsewhere and pushes.
"""

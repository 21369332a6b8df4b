"""Pruning: from a trained model to one with fewer weights, before it is quantized. Runs in workers.

plan.py decides how a model can be pruned at all, prune.py carries it out: once.py on a frozen file, without
TensorFlow, everything else on the Keras model, with training.
"""

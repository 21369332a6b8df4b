"""Variants, made of a frozen file: pruned, calibrated, quantized, with layers spared."""

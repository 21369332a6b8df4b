"""What a variant answers beside its source: trials, comparisons, errors by layer."""

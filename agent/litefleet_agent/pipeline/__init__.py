"""From an input to an answer that is written down: source, pre-processing, post-processing, sink, and their loop."""

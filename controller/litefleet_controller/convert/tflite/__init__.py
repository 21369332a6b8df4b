"""A `.tflite` file as data: read, and rewritten where a runtime would stumble. Never run here."""

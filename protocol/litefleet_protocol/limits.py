"""Limits that both sides hold. One number, one reason each."""

CHUNK_BYTES = 64 * 1024
"""An artifact's chunk. 64 KiB passes every broker's and cloud's limit; 256 KiB was measured to be no faster."""

CHUNK_WINDOW = 8
"""Chunk topics a device subscribes to at once, so that a slow link can't overrun a broker's queue."""

MAX_CHUNKS = 16_384
"""Chunks an artifact may have: 1 GiB, far above what the smallest class of board can hold."""

MAX_CONTROL_BYTES = 256 * 1024
"""A control message (JSON). Larger ones are dropped before they are parsed."""

MAX_MANIFEST_BYTES = 2 * 1024 * 1024
"""An artifact manifest in its envelope: 16,384 hashes of 64 digits and the rest."""

MAX_TELEMETRY_BYTES = 64 * 1024
"""A telemetry window (MessagePack)."""

MAX_SLOTS = 64
"""Slots (models) on one board."""

MAX_CLASSES = 4_096
"""Distinct output classes that a telemetry window may count; the rest is dropped as `CardinalityLimit`."""

MAX_NEED = 256
"""Chunks a device may ask for in one `need`."""

MAX_GOLDEN_BYTES = 8 * 1024 * 1024
"""The golden samples that travel with an artifact."""

MAX_GOLDEN_NUMBERS = 4_096
"""Of one output in a golden sample: a model that computes something else shows it anywhere."""

MAX_LOG_BYTES = 64 * 1024
"""A message of log entries (JSON). Devices send a quarter of it, so that a newer one may say more."""

MAX_LOG_ENTRIES = 256
"""Entries in one of them."""

MAX_LOG_TEXT = 500
"""Characters of a log entry's value; longer ones are cut by who writes them, and by who stores them."""

MAX_LOG_FIELDS = 24
"""Fields of a log entry; more are left out."""

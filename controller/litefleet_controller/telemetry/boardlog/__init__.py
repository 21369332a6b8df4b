"""The boards' own logs: entries in, a bounded number of them a board, and out again in the order of the board."""

"""`litefleet-agent doctor`: one look at a board that tells its owner what is wrong, without a controller and offline.

It only reads, and may look at a board whose agent runs. Its disk refuses to write; whatever could take it down (an
engine that this processor can't run) or make it large is done in a child. Each module looks at one thing and gives
findings.
"""

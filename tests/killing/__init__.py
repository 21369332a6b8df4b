"""Killing an agent at every operation on its disk, and cutting the power there: what `faults/agent_kills` is made of.

The agent is a real process, forked from one that has its libraries loaded (`forkserver`), under a preloaded shim (`shim.c`)
that sees each open, write, fsync, truncate, rename, remove and mkdir below the agent's folder, logs it, and kills the
process at a chosen one. `trace` reads such logs; the points to kill at come from them, not from a list.

What is modelled. A kill: SIGKILL before an operation, or after the first half of a write; the page cache survives, and the
agent's children die with it. A power cut:
the same, and then `powercut` rebuilds the disk out of what was synced and a seeded choice of what was not. File data
become durable by fsync of the file, names by fsync of the directory that holds them, nothing else makes anything durable
(real file systems are kinder). Of unsynced writes single 4096-byte pages survive; a rename is atomic but may be lost, or
survive the loss of what came before it.

What is not: bit rot, firmware that lies about fsync, writes through mmap, modes and times of files, and more than one process
that writes. A kill between two operations leaves the same disk as one before the second. Each state checks the tracer, too:
the trace, replayed, must give the very disk that the kill left.
"""

"""Child processes that load what nobody vouches for: their limits, what they may reach, and what they are asked."""

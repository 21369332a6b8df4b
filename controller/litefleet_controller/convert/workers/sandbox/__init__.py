"""What a worker takes from itself before it opens anything of somebody else's. Linux; the standard library only."""

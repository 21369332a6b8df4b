"""What each engine's variant is made of and run by, one file an engine. Imported in workers only."""

"""The runtime: programs as supervised actors, every run journaled."""

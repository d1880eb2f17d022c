"""The daemon: programs served over HTTP."""

"""Repertory: language-model programs as supervised actors."""

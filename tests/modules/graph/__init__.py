"""Tests of static graphs."""

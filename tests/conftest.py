"""What holds of all tests."""

from hypothesis import settings

# No test asserts wall-clock time: not hypothesis either.
settings.register_profile("repertory", deadline=None)
settings.load_profile("repertory")

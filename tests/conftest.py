"""What holds of all tests."""

import gc

from hypothesis import settings

# No test asserts wall-clock time: not hypothesis either.
settings.register_profile("repertory", deadline=None)
settings.load_profile("repertory")


def pytest_collection_finish() -> None:
    """Spare the collector what lasts as long as the process: thousands of tests, each module they import."""
    gc.collect()
    gc.freeze()

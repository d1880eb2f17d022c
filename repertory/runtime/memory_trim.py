"""Memory that Python has freed, given back to the system.

glibc keeps what was freed for the next allocation, unless it is at the very end of its heap: a cache that drops
100 MiB of answers leaves the process as large as it was, until malloc_trim(3) is called.
"""

import ctypes


def trim() -> None:
    """Give free memory back, if the C library can. It takes some 40 ms for each GiB."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(ctypes.c_size_t(0))

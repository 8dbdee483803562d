"""How a process of q2v's own treats memory while it moves points."""

import ctypes
import gc
from contextlib import suppress

# Of glibc's malloc.h. A page of points and what is made of it are buffers of some MB each.
_M_TRIM_THRESHOLD, _TRIM_BYTES = -1, 2**30
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * 1024 * 1024  # the most that it takes


def leave_out_what_is_loaded() -> None:
    """What is there now stays to the end; for a process of q2v's own, once its modules are loaded.

    Moving points, the search for cycles goes over the libraries' objects again and again: without
    them a move takes 6 % less time.
    """
    gc.collect()
    gc.freeze()


def keep_freed_memory() -> None:
    """What buffers leave behind goes to the next ones, not to the system and back.

    Memory that the system gives anew is cleared and mapped 4 kB at a time: without that a move
    takes 7 % less time. Where the C library is another one than glibc, nothing is changed.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)

"""How a process of q2v's own treats memory while it moves points."""

import gc

# For a process that is started with it: what buffers of some MB leave behind goes to the next ones,
# not to the system and back. Memory that the system gives anew is cleared and mapped 4 kB at a
# time: without that a move takes 7 % less time. Read by glibc (mallopt(3)), and by nothing else.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),  # the most that it takes
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}


def leave_out_what_is_loaded() -> None:
    """What is there now stays to the end; for a process of q2v's own, once its modules are loaded.

    Moving points, the search for cycles goes over the libraries' objects again and again: without
    them a move takes 6 % less time.
    """
    gc.collect()
    gc.freeze()

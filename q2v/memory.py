"""What q2v does with too little memory."""

import errno
import resource

from migrate.errors import LocalStorageError

# Address space, not memory in use: each thread reserves 64 MB for its allocator, each library its
# tables. Measured with `ulimit -v`, 3,000 points: below 1.5 GB commands fail at random places, some
# of them inside libraries that abort the process; from 2 GB on all of them succeed.
ADDRESS_SPACE_BYTES_MIN = 2_000_000_000
MEMORY_REMEDY = "free memory or raise its limit, then run the same command again: it resumes"
_NO_MEMORY_TEXTS = (
    "can't start new thread",  # RuntimeError of `threading`
    "failed to map segment",  # ImportError of a library that does not fit
    "cannot allocate memory",
)


def check_address_space() -> None:
    """Raises LocalStorageError when the process may use less address space than a move needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE_BYTES_MIN:
        raise LocalStorageError(
            f"the address space of this process is limited to {limit:,} B (`ulimit -v`), "
            f"{ADDRESS_SPACE_BYTES_MIN:,} B are needed",
            remedy="run `ulimit -v unlimited` in this shell, then the same command again",
        )


def is_memory_short(error: BaseException) -> bool:
    """Whether an exception says that the system gives no more memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(
        sign in text for sign in _NO_MEMORY_TEXTS
    )

"""Every command, imported: the process of a fleet that forks for each command imports this.

So a command starts within 50 ms; an interpreter of its own takes a second of CPU.
"""

import atexit
import gc
import importlib
import os
import sys
from contextlib import suppress

from q2v.commands import COMMANDS

# What commands import only when they use it.
_LATE = ("duckdb", "pyarrow.compute", "pyarrow.parquet", "qdrant_client", "q2v.main", "tenacity")


def _leave() -> None:
    """End the process here: an interpreter that ends frees no object that `gc.freeze` kept.

    The binding of DuckDB would list each of them on stderr.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(1 if hasattr(sys, "last_value") else 0)


# Only in the process that forks: its program is the one that `multiprocessing` gives to `-c`.
# Registered before libraries are imported, so it is called after what they do at the end.
if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    atexit.register(_leave)
for _name in _LATE:
    importlib.import_module(_name)
for _command in COMMANDS.values():
    if not _command.extra:
        _command.load()
gc.collect()
gc.freeze()  # no command walks what it shares with the others

"""Every command, imported: the process of a fleet that forks for each command imports this.

So a command starts within 50 ms; an interpreter of its own takes a second of CPU.
"""

import gc
import importlib

from q2v.commands import COMMANDS

# What commands import only when they use it.
_LATE = ("duckdb", "pyarrow.compute", "pyarrow.parquet", "qdrant_client", "q2v.main", "tenacity")

for _name in _LATE:
    importlib.import_module(_name)
for _command in COMMANDS.values():
    if not _command.extra:
        _command.load()
gc.collect()
gc.freeze()  # no command walks what it shares with the others

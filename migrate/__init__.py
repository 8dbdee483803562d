"""The library: take a snapshot, plan a run, write it to Vectorize and KV, undo it.

One package a subject; imports only point down, as the contract in pyproject.toml says.
"""

import os

# Read when pyarrow is loaded. Its own pool keeps for every thread what the thread has let go of:
# 60 MB more for two readers of a snapshot, and no time less.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

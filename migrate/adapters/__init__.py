"""Thin I/O shells: the only code that touches disk, network or clock."""

import os

# Read when pyarrow is loaded. Its own pool keeps for every thread what the thread has let go of:
# 60 MB more for two readers of a snapshot, and no time less.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

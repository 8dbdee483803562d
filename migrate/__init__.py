"""Plan, snapshot, upload and KV index: stages over ports, a pure core, thin adapters."""

import os

# Read when pyarrow is loaded. Its own pool keeps for every thread what the thread has let go of:
# 60 MB more for two readers of a snapshot, and no time less.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

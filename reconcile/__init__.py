"""Compare the stores, say what differs, and undo a run."""

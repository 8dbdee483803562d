"""Restore the target to its state before a run: KV first, then vectors."""

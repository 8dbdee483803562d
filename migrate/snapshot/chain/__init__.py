"""Differences to a snapshot: found, sealed, read as one with their parent, and flattened."""

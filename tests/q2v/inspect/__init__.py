"""Commands that only read: check, list, explain."""

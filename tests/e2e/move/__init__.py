"""From provision to the last catch-up, as an operator types it."""

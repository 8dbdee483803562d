"""Real commands and real processes."""

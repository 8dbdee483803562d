"""The tool as a rehearsal uses it."""

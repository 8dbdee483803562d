"""The audit of the dependencies."""

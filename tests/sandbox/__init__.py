"""The specification of the sandbox."""

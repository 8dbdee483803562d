"""Looks at the target after the cutover."""

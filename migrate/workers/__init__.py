"""Parallel work: threads whose results keep their order, and processes for a second core."""

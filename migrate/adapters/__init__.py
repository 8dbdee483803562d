"""Thin I/O shells: the only code that touches disk, network or clock."""

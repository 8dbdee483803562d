"""Planted bugs: each has to be caught by the test that names it."""

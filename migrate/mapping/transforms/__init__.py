"""Declared changes between a payload and its metadata: each a small rule, in the order given."""

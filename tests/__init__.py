"""The specification, runnable; the folders mirror the tree they test."""

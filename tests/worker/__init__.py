"""The Worker's side, from Python: what worker/test checks, row by row of the fault matrix."""

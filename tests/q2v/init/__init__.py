"""The command `q2v init`."""

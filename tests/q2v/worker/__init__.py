"""`q2v worker`."""

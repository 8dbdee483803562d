"""The verifier at the edge: a Worker of q2v that reads contents through its binding."""

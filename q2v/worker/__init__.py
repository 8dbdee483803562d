"""The project of a Worker with the store and the verifier, as `q2v worker init` writes it."""

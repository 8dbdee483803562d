"""The comparison through a verifier, in the real workerd and against one that lies."""

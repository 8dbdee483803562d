"""The stand-in for Vectorize."""

"""Read a snapshot file that a Qdrant server made of a collection, without a server."""

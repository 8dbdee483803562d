"""Write a snapshot back into a Qdrant collection: of a server, or in an embedded store."""

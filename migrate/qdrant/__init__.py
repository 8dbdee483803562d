"""Everything about Qdrant: a source over gRPC or REST, or from a folder of a server."""

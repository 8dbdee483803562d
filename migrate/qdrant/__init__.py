"""Everything about Qdrant: a source over gRPC or REST, or a folder that a server left."""

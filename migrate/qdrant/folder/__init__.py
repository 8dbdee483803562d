"""Points of a collection's folder on disk, all its shards."""

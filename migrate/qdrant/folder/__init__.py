"""Read the points of a collection's folder on disk, from all its shards."""

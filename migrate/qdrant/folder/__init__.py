"""Read the points of what `source.path` names on a disk: all shards of a collection, or none."""

"""The shards of a collection, and its shard keys: read by key, merged by id."""

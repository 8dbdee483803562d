"""A --dir in an object store, from end to end."""

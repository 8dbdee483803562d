"""What source.path may name: the same move from each kind of store."""

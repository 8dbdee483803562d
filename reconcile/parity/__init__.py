"""Does search still answer the same? Exact neighbours, how much of them is kept, and a verdict."""

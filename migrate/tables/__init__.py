"""Sets of ids that may not fit into memory: DuckDB tables that spill to disk."""

"""Files of this tool: the storage port, its local folder, durable writes, locks, Parquet guard."""

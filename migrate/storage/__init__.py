"""Files of this tool on a local disk: durable writes, locks, bounded reads, sealed Parquet."""

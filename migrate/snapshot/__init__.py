"""An immutable Parquet copy of one collection: take it, verify it, repair a part of it."""

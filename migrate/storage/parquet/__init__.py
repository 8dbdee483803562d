"""Parquet files, opened only in the shape in which q2v writes them."""

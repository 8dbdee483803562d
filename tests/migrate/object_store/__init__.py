"""Snapshots and archives in an object store."""

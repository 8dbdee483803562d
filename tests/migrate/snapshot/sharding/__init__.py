"""Snapshots of collections with custom sharding."""

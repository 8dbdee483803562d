"""Queries: the nearest vectors, filters over metadata, the route."""

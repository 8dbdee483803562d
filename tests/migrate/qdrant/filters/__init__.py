"""Tests of migrate.qdrant.filters."""

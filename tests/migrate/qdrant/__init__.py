"""Tests of migrate.qdrant."""

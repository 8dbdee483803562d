"""Tests of migrate.qdrant.folder."""

"""Tests of migrate.qdrant.folder.local_mode."""

"""Tests of migrate.qdrant.folder.server_snapshot."""

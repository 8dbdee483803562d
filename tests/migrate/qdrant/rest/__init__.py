"""Tests of migrate.qdrant.rest."""

"""Tests of migrate.qdrant.grpc."""

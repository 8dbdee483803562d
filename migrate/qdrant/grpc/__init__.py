"""Points over gRPC."""

"""Read points over gRPC."""

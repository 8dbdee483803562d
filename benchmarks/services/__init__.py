"""Both services, as fast as a socket: what ours is measured against."""

"""Put the target back to what it was before a run: KV first, vectors after."""

"""Plan, snapshot, upload and KV index: stages over ports, a pure core, thin adapters."""

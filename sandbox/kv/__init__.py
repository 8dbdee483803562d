"""The stand-in for Workers KV."""

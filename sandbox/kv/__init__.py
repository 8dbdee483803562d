"""The sandbox's Workers KV: routes, rules, store."""

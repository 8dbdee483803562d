"""Everything about Cloudflare: Vectorize, Workers KV, what a token may do, the request budget."""

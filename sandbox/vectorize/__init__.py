"""The sandbox's Vectorize: routes, store, queries."""

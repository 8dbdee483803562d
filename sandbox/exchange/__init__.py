"""One request and its answer: what Starlette gives, and what the service adds to it."""

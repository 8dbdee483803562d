"""HTTP below both services: a deadline for each request, trust, words of an answer."""

"""The sandbox: a local server with the APIs of Vectorize and Workers KV, for rehearsals."""

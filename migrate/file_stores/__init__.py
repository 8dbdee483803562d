"""The store of a sync service: the chunks of files as vectors, in Qdrant or in Vectorize and KV."""

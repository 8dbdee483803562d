"""A program that writes points by LangChain's own store, which takes long to load.

Standard input: {"url", "api_key", "collection", "dimensions", "texts", "metadata"}, as JSON.
Standard output: the ids of the points, as Qdrant spells them.
"""

import json
import sys
import uuid

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models


def main() -> None:
    """Create the collection, write the texts, print the ids."""
    given = json.load(sys.stdin)
    client = QdrantClient(url=given["url"], api_key=given["api_key"], check_compatibility=False)
    shape = models.VectorParams(size=given["dimensions"], distance=models.Distance.COSINE)
    client.create_collection(given["collection"], vectors_config=shape)
    store = QdrantVectorStore(
        client=client,
        collection_name=given["collection"],
        embedding=DeterministicFakeEmbedding(size=given["dimensions"]),
    )
    ids = store.add_texts(given["texts"], given["metadata"])
    sys.stdout.write(json.dumps([str(uuid.UUID(str(one))) for one in ids]))


if __name__ == "__main__":
    main()

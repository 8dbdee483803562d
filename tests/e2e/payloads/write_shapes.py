"""A program that writes points by the stores of LangChain, LlamaIndex, Haystack and qdrant-client.

All in one process, because each takes seconds to load. No model and no other server is asked.

Standard input: {"dimensions": N, "servers": {writer: {"url", "api_key", "collection"}}}, as JSON.
Standard output: {writer: the ids of the points as Qdrant spells them, in the order of the texts}.
"""

import json
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from haystack import Document
from haystack.components.preprocessors import DocumentSplitter
from haystack.utils import Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from haystack_integrations.document_stores.qdrant.converters import convert_id
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_qdrant import QdrantVectorStore as LangChainStore
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import QdrantClient, models

from tests.e2e.payloads.handbook import BOOK, FILES, POINTS, metadata_of, text_of


class Place(NamedTuple):
    """Where to write."""

    url: str
    api_key: str
    collection: str
    dimensions: int

    def client(self) -> QdrantClient:
        return QdrantClient(url=self.url, api_key=self.api_key, check_compatibility=False)

    def vectors(self, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Float32 unit vectors."""
        values = np.random.default_rng(1).standard_normal((count, self.dimensions))
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(unit, np.float32)


def with_langchain(place: Place) -> Sequence[object]:
    """By `add_texts`, with embeddings that are drawn from the text."""
    client = place.client()
    shape = models.VectorParams(size=place.dimensions, distance=models.Distance.COSINE)
    client.create_collection(place.collection, vectors_config=shape)
    store = LangChainStore(
        client=client,
        collection_name=place.collection,
        embedding=DeterministicFakeEmbedding(size=place.dimensions),
    )
    return store.add_texts(
        [text_of(number) for number in range(POINTS)],
        [metadata_of(number) for number in range(POINTS)],
    )


def with_llamaindex(place: Place) -> Sequence[object]:
    """Nodes of three documents; the store creates its collection itself."""
    nodes: list[BaseNode] = [
        TextNode(
            text=text_of(number),
            metadata=metadata_of(number),
            embedding=vector.tolist(),
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document-{number % FILES}")
            },
        )
        for number, vector in enumerate(place.vectors(POINTS))
    ]
    return LlamaIndexStore(collection_name=place.collection, client=place.client()).add(nodes)


def with_haystack(place: Place) -> Sequence[object]:
    """Documents that the splitter has cut, with overlap; the ids are made by the store."""
    splitter = DocumentSplitter(split_by="word", split_length=6, split_overlap=2)
    documents = [
        Document(content=f"{BOOK} {number}", meta={**metadata_of(number), "file_path": "a b.md"})
        for number in range(FILES)
    ]
    chunks = splitter.run(documents)["documents"]
    for chunk, vector in zip(chunks, place.vectors(len(chunks)), strict=True):
        chunk.embedding = vector.tolist()
    store = QdrantDocumentStore(
        url=place.url,
        api_key=Secret.from_token(place.api_key),
        index=place.collection,
        embedding_dim=place.dimensions,
        progress_bar=False,
    )
    store.write_documents(chunks)
    return [convert_id(chunk.id) for chunk in chunks]


def with_client(place: Place) -> Sequence[object]:
    """By `upload_collection`, which makes batches of what a program has; payloads of its own."""
    client = place.client()
    shape = models.VectorParams(size=place.dimensions, distance=models.Distance.COSINE)
    client.create_collection(place.collection, vectors_config=shape)
    ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(POINTS)]
    client.upload_collection(
        place.collection,
        vectors=place.vectors(POINTS),
        payload=[{"text": text_of(number), **metadata_of(number)} for number in range(POINTS)],
        ids=ids,
        batch_size=10,
    )
    return ids


WRITERS: dict[str, Callable[[Place], Sequence[object]]] = {
    "langchain": with_langchain,
    "llamaindex": with_llamaindex,
    "haystack": with_haystack,
    "client": with_client,
}


def main() -> None:
    """Write with each, and print the ids."""
    given = json.load(sys.stdin)
    written = {
        name: WRITERS[name](Place(**server, dimensions=given["dimensions"]))
        for name, server in given["servers"].items()
    }
    ids = {name: [str(uuid.UUID(str(one))) for one in found] for name, found in written.items()}
    sys.stdout.write(json.dumps(ids))


if __name__ == "__main__":
    main()

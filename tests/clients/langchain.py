"""LangChain's vector store over Vectorize; run by the interpreter that has it."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from langchain_cloudflare import CloudflareVectorize
from langchain_core.embeddings import Embeddings

from tests.clients.outcome import Outcomes


class Digests(Embeddings):
    """32 numbers from a digest: equal texts are near, nothing else is meant."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One list per text."""
        return [[byte + 1.0 for byte in hashlib.sha256(text.encode()).digest()] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The same for one text."""
        return self.embed_documents([text])[0]


def check_store(store: Any, outcomes: Outcomes) -> None:
    """What the class can do, in the order a caller would."""
    works, refused = outcomes.works, outcomes.refused
    texts = [f"text {n} äß" for n in range(12)]
    ids = [f"id{n}" for n in range(12)]
    metadata = [{"section": f"s{n % 2}"} for n in range(12)]
    works("create_index", lambda: store.create_index(dimensions=32, wait=True))
    refused("create_index, again", lambda: store.create_index(dimensions=32), "already exists")
    works("get_index", store.get_index)
    works("list_indexes", store.list_indexes, lambda found: found[0]["name"] == "chain")
    works(
        "create_metadata_index",
        lambda: store.create_metadata_index(
            property_name="section", index_type="string", wait=True
        ),
    )
    works("list_metadata_indexes", store.list_metadata_indexes, bool)
    works(
        "add_texts",
        lambda: store.add_texts(texts=texts, metadatas=metadata, ids=ids, upsert=True, wait=True),
    )
    works("get_index_info", store.get_index_info, lambda info: info["vectorCount"] == 12)
    works(
        "similarity_search",
        lambda: store.similarity_search(query=texts[3], k=2, return_metadata="all"),
        lambda found: found[0].id == "id3",
    )
    works(
        "similarity_search_with_score, filtered",
        lambda: store.similarity_search_with_score(
            query=texts[3], k=5, md_filter={"section": "s0"}, return_metadata="all"
        ),
        lambda found: {one.metadata["section"] for one, _ in found} == {"s0"},
    )
    works("get_by_ids", lambda: store.get_by_ids(ids[:3]), lambda found: len(found) == 3)
    refused("get_by_ids, 21", lambda: store.get_by_ids([str(n) for n in range(21)]), "400")
    works("delete", lambda: store.delete(ids=ids[:2], wait=True))
    works(
        "aadd_texts and asimilarity_search",
        lambda: asyncio.run(_add_and_search(store)),
        lambda found: found[0].id == "later",
    )
    # The client names the member `property`, the schema `propertyName`.
    refused(
        "delete_metadata_index",
        lambda: store.delete_metadata_index(property_name="section"),
        "propertyName",
    )
    works("delete_index", store.delete_index)
    refused("get_index, deleted", store.get_index, "410")


async def _add_and_search(store: Any) -> Any:
    await store.aadd_texts(texts=["later"], ids=["later"], upsert=True, wait=True)
    return await store.asimilarity_search(query="later", k=1, return_metadata="all")


def main() -> None:
    """Print one line per method; exit 1 if one failed."""
    outcomes = Outcomes("langchain")
    store = CloudflareVectorize(
        embedding=Digests(),
        account_id=os.environ["CLOUDFLARE_ACCOUNT_ID"],
        api_token=os.environ["CLOUDFLARE_API_TOKEN"],
        base_url=os.environ["CLOUDFLARE_API_BASE_URL"],
        index_name="chain",
    )
    check_store(store, outcomes)
    sys.exit(bool(outcomes.failed))


if __name__ == "__main__":
    main()

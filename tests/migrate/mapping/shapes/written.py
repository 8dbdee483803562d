"""Payloads as the writers of the known shapes write them; docs/shapes.md names the releases."""

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from migrate.mapping.shapes.recognise import SamplePoint
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import PointId

Payload = dict[str, Any]
FILES = 3


def point_uuid(number: int) -> str:
    """The id of a point, as most writers make one."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def seed(number: int) -> Payload:
    text = f"chunk {number}"
    return {
        "file_id": f"file-{number % FILES}",
        "file_name": "a.txt",
        "chunk_index": number // FILES,
        "chunk_hash": hashlib.sha256(text.encode()).hexdigest(),
        "text": text,
    }


def langchain(number: int) -> Payload:
    metadata = {"source": f"book/{number % FILES}.md", "start_index": number, "page": None}
    return {"page_content": f"chunk {number}", "metadata": metadata}


def llamaindex(number: int) -> Payload:
    document = f"document-{number % FILES}"
    metadata = {"file_name": "a.md", "page": None, "tags": [1, 2]}
    node = {"id_": point_uuid(number), "metadata": metadata, "text": f"chunk {number}"}
    return {
        **metadata,
        "_node_content": json.dumps(node),
        "_node_type": "TextNode",
        "document_id": document,
        "doc_id": document,
        "ref_doc_id": document,
    }


def dify(number: int) -> Payload:
    return {
        "page_content": f"chunk {number}",
        "metadata": {
            "dataset_id": point_uuid(-1),
            "document_id": point_uuid(-2 - number % FILES),
            "doc_id": point_uuid(number),
            "doc_hash": hashlib.sha256(f"chunk {number}None".encode()).hexdigest(),
        },
        "group_id": point_uuid(-1),
    }


def haystack(number: int) -> Payload:
    meta = {"source_id": f"document-{number % FILES}", "split_id": number // FILES, "page": None}
    return {
        "id": hashlib.sha256(str(number).encode()).hexdigest(),
        "content": f"chunk {number}",
        "blob": None,
        "meta": meta,
        "score": None,
        "sparse_embedding": None,
    }


def n8n(number: int) -> Payload:
    lines = {"from": number + 1, "to": number + 2}
    metadata = {
        "source": "blob",
        "blobType": "application/json",
        "loc": {"lines": lines},
        "file_id": f"drive-{number % FILES}",
    }
    return {"content": f"chunk {number}", "metadata": metadata}


WRITERS: dict[str, Callable[[int], Payload]] = {
    "seed": seed,
    "langchain": langchain,
    "llamaindex": llamaindex,
    "dify": dify,
    "haystack": haystack,
    "n8n": n8n,
}
CHOSEN = {  # shape -> group, order and hash key; metadata indexes
    "seed": ("file_id", "chunk_index", "chunk_hash", ["file_id"]),
    "langchain": ("metadata.source", "metadata.start_index", "", ["metadata.source"]),
    "llamaindex": ("doc_id", "", "", ["doc_id"]),
    "dify": (
        "metadata.document_id",
        "",
        "metadata.doc_hash",
        ["metadata.document_id", "group_id", "metadata.doc_id"],
    ),
    "haystack": ("meta.source_id", "meta.split_id", "", ["meta.source_id"]),
    "n8n": ("metadata.file_id", "", "", ["metadata.file_id"]),
    "plain": ("", "", "", []),
}


def sample(*payloads: Payload) -> list[SamplePoint]:
    """Points with these payloads."""
    return [
        SamplePoint(PointId.parse(number), encode_canonical_json(payload))
        for number, payload in enumerate(payloads)
    ]


def sample_of(shape: str, count: int = 9) -> list[SamplePoint]:
    """Points as a writer writes them."""
    return sample(*map(WRITERS[shape], range(count)))

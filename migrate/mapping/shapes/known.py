"""The shapes that `q2v init` knows, the more particular ones first.

Each is what the newest release of its writer puts into Qdrant; docs/shapes.md names the releases,
and tests/e2e/payloads moves what the Python packages themselves wrote.
"""

from migrate.mapping.shapes.shape import FieldChoice, Mark, Shape

# What metadata cannot hold and writers leave in payloads: docs/transforms.md.
_HELD_AS_TEXT = (
    {"nulls": "leave_out"},
    {"to_text": [], "of": ["big_integers", "number_lists", "deep_objects"]},
)
_LARGE = (
    "metadata holds 10,240 bytes with the text: `q2v plan` names the points with more; "
    "truncate the field {field} or drop fields that no reader needs (docs/transforms.md)"
)

SEED = Shape(
    name="seed",
    written_by="the sync service of Drive files",
    marks=(
        Mark("file_id", "text"),
        Mark("chunk_index", "whole number"),
        Mark("chunk_hash", "text"),
    ),
    id_template="{file_id}_{chunk_index}",
    group=FieldChoice(kind="text", fields=("file_id",), assumed="file_id"),
    order=FieldChoice(kind="whole number", fields=("chunk_index",), assumed="chunk_index"),
    hash=FieldChoice(kind="SHA-256", fields=("chunk_hash",), assumed="chunk_hash"),
    advice=(
        'ids beyond 64 bytes are left out, unless long_ids = "hash:vector_id" (docs/long-ids.md)',
        "hash_of names the field with the text when its hash is to be checked",
    ),
)
LLAMAINDEX = Shape(
    name="llamaindex",
    written_by="LlamaIndex (llama-index-vector-stores-qdrant)",
    marks=(Mark("_node_content", "text"), Mark("_node_type", "text")),
    id_template="{point_id}",
    group=FieldChoice(kind="text", fields=("doc_id",), assumed="doc_id", placeholders=("None",)),
    transforms=_HELD_AS_TEXT,
    advice=(
        "_node_content is JSON with the text and the metadata again; metadata holds 10,240 bytes: "
        "`q2v plan` names the points with more",
        "never truncate _node_content, its readers parse it: make smaller nodes, or drop it when "
        "readers get the text elsewhere (docs/shapes.md)",
        'nodes without a source document share the file "None"',
    ),
)
DIFY = Shape(
    name="dify",
    written_by="Dify",
    marks=(
        Mark("page_content", "text or null"),
        Mark("metadata.dataset_id", "text"),
        Mark("metadata.document_id", "text"),
        Mark("metadata.doc_id", "text"),
    ),
    id_template="{point_id}",
    group=FieldChoice(
        kind="text", fields=("metadata.document_id",), assumed="metadata.document_id"
    ),
    hash=FieldChoice(kind="SHA-256", fields=("metadata.doc_hash",)),
    indexed=("group_id", "metadata.doc_id"),
    transforms=_HELD_AS_TEXT,
    advice=(
        "Dify keeps several datasets in one collection and tells them apart by group_id: every "
        "query has to filter by it",
        "metadata.doc_hash is not the SHA-256 of the text alone: leave hash_of empty",
        _LARGE.format(field="page_content"),
    ),
)
LANGCHAIN = Shape(
    name="langchain",
    written_by="LangChain for Python (langchain-qdrant)",
    marks=(Mark("page_content", "text or null"), Mark("metadata", "object or null")),
    id_template="{point_id}",
    group=FieldChoice(kind="text", fields=("metadata.source",), assumed="metadata.source"),
    order=FieldChoice(kind="whole number", fields=("metadata.start_index",)),
    transforms=_HELD_AS_TEXT,
    advice=(
        "splitters with add_start_index=True write metadata.start_index, which orders a file's "
        "vectors: order_key",
        _LARGE.format(field="page_content"),
    ),
)
HAYSTACK = Shape(
    name="haystack",
    written_by="Haystack (qdrant-haystack)",
    marks=(
        Mark("id", "text"),
        Mark("content", "text or null"),
        Mark("meta", "object"),
        Mark("blob", "object or null"),
    ),
    id_template="{point_id}",
    group=FieldChoice(
        kind="text", fields=("meta.source_id", "meta.file_path"), assumed="meta.source_id"
    ),
    order=FieldChoice(kind="whole number", fields=("meta.split_id",)),
    transforms=_HELD_AS_TEXT,
    advice=(
        "the splitters of Haystack write meta.source_id and meta.split_id, its converters "
        "meta.file_path: group_key and order_key name them",
        _LARGE.format(field="content"),
    ),
)
N8N = Shape(
    name="n8n",
    written_by="n8n, Flowise and LangChain for JavaScript (@langchain/qdrant)",
    marks=(Mark("content", "text or null"), Mark("metadata", "object or null")),
    id_template="{point_id}",
    group=FieldChoice(
        kind="text", fields=("metadata.file_id", "metadata.source"), placeholders=("blob",)
    ),
    transforms=_HELD_AS_TEXT,
    advice=(
        'n8n writes metadata.source = "blob" for every file: a field for the file is one that '
        "the workflow adds itself, as metadata.file_id; group_key names it",
        _LARGE.format(field="content"),
    ),
)
PLAIN = Shape(
    name="plain",
    written_by="a program of your own, such as one with qdrant-client",
    marks=(),
    id_template="{point_id}",
    transforms=_HELD_AS_TEXT,
    advice=(
        "group_key names the field with the file, if there is one: each file gets a KV entry; it "
        'needs key_template = "file:{FIELD}" under [kv] and an entry in metadata_indexes too',
    ),
)
# Dify's payloads have the marks of LangChain's too, and Haystack's come near to those of n8n.
SHAPES = {one.name: one for one in (SEED, LLAMAINDEX, DIFY, LANGCHAIN, HAYSTACK, N8N, PLAIN)}

"""The limits the stand-in enforces, each with its mark: D documented, O observed by others.

They are written down here again, apart from the tool's own, on purpose: a number that is wrong
on one side only makes a test fail.
"""

DIMENSIONS_MIN = 32  # O
DIMENSIONS_MAX = 1536  # D
INDEX_NAME_BYTES_MAX = 64  # D
VECTOR_ID_BYTES_MAX = 64  # D, O: code 40008
NAMESPACE_BYTES_MAX = 64  # D
METADATA_BYTES_MAX = 10_240  # D, O: code 40016
VECTORS_PER_UPLOAD_MAX = 5_000  # D
UPLOAD_BYTES_MAX = 100_000_000  # D "100 MB"; the smaller reading
GET_IDS_MAX = 20  # O: code 40007
DELETE_IDS_MAX = 100  # O: code 40007
LIST_COUNT_MAX = 1_000  # D
TOP_K_MAX = 100  # D
TOP_K_WITH_CONTENT_MAX = 50  # D, O: code 40025
METADATA_INDEXES_MAX = 10  # D
INDEXED_STRING_BYTES_MAX = 64  # D
FILTER_BYTES_MAX = 2_048  # D
FILTER_KEY_CHARACTERS_MAX = 512  # D
EXACT_INTEGER_MAX = 2**63  # a JSON integer beyond it has no type to be stored in

KV_KEY_BYTES_MAX = 512  # D
KV_VALUE_BYTES_MAX = 25 * 1024 * 1024  # D
KV_METADATA_BYTES_MAX = 1_024  # D
KV_TTL_S_MIN = 60  # D
KV_PAIRS_MAX = 10_000  # D
KV_BULK_BYTES_MAX = 100_000_000  # D
KV_READ_KEYS_MAX = 100  # D
KV_LIST_LIMIT_MIN = 10  # D
KV_LIST_LIMIT_MAX = 1_000  # D
KV_WRITES_APART_S = 1.0  # D: one write per key and second
NAMESPACES_MAX = 1_000  # D

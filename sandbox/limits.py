"""The numbers the sandbox enforces, each with its source.

D documented by Cloudflare, C read in an official client, O observed by third parties, U our choice.
They repeat the tool's own list on purpose: a number that is wrong on one side fails a test.
"""

DIMENSIONS_MIN = 32  # O: the service named the range [32, 1536]
DIMENSIONS_MAX = 1536  # D
INDEX_NAME_BYTES_MAX = 64  # D
METADATA_INDEXES_MAX = 10  # D: per vector index
INDEXED_STRING_BYTES_MAX = 64  # D: only the first 64 bytes of a string are indexed

VECTOR_ID_BYTES_MAX = 64  # D
VECTOR_NAMESPACE_BYTES_MAX = 64  # D
METADATA_BYTES_MAX = 10_240  # D, O: of compact JSON
VECTORS_PER_UPLOAD_MAX = 5_000  # D
BODY_BYTES_MAX = 100_000_000  # D "100 MB", read as decimal (U): uploads, KV values, bulk requests
JSON_BYTES_MAX = 1_000_000  # U: every other body; a query of 1536 values is under 100 kB
LINE_BYTES_MAX = 4_000_000  # U: a line of an upload; 1536 values and 10 kB of metadata fit tenfold
GET_IDS_MAX = 20  # O
DELETE_IDS_MAX = 100  # O
LIST_COUNT_MAX = 1_000  # D
LIST_COUNT_DEFAULT = 100  # U: the default is not published; clients must send `count`

TOP_K_DEFAULT = 5  # D
TOP_K_MAX = 100  # D
TOP_K_WITH_CONTENT_MAX = 50  # D: with values, or with all metadata
FILTER_BYTES_MAX = 2_048  # D: "under 2048 bytes" of compact JSON
FILTER_KEY_CHARACTERS_MAX = 512  # D

KV_NAMESPACES_MAX = 1_000  # D
KV_TITLE_BYTES_MAX = 512  # U
KV_NAMESPACES_PER_PAGE_DEFAULT = 20  # C
KV_NAMESPACES_PER_PAGE_MAX = 1_000  # U: 100 in older texts; the SDKs ask for more
KV_PAIRS_MAX = 10_000  # D
KV_VALUES_MAX = 2_000_000  # U: JSON values in one bulk request, 200 for each of 10,000 pairs
KV_READ_KEYS_MAX = 100  # D
KV_READ_BYTES_MAX = 25 * 1024 * 1024  # C: of all values of one bulk read
KV_KEY_BYTES_MAX = 512  # D
KV_VALUE_BYTES_MAX = 25 * 1024 * 1024  # D
KV_METADATA_BYTES_MAX = 1_024  # D: serialised
KV_TTL_S_MIN = 60  # D: for absolute times too
KV_JURISDICTIONS = ("eu", "us", "fedramp")  # D: chosen at creation, never changed
KV_MODES = ("instant",)  # C: what wrangler sends for KV Instant, a private beta
KV_INSTANT_VALUE_BYTES_MAX = 1_000_000  # D "1 MB", read as decimal (U)
KV_INSTANT_KEYS_MAX = 10_000  # D: in the namespace
KV_INSTANT_KEY_BYTES_MAX = 300  # D
KV_LIST_LIMIT_MIN = 10  # D
KV_LIST_LIMIT_MAX = 1_000  # D: also the default

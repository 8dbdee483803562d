"""Every number of the services, once, with its unit, its source and the date of the source.

Sources are the pages of the provider's documentation: V-LIM = vectorize/platform/limits
(2026-08-05), A-LIM = fundamentals/api/reference/limits (2026-04-20), KV-LIM = kv/platform/limits,
KV-WRITE = kv/api/write-key-value-pairs, V-PRICE = vectorize/platform/pricing (2026-04-21).
"Observed" = reported by third parties against the live service; good evidence, not a promise.
"""

# The account: A-LIM. Every request of every token of the same user counts, Vectorize and KV alike.
REQUESTS_PER_WINDOW_MAX = 1200
REQUEST_WINDOW_S = 300
BLOCK_S = 300  # after exceeding it, all calls of the next five minutes answer 429
RETRY_AFTER_S_MAX = 600  # a longer wait is the operator's decision

# A vector index: V-LIM.
DIMENSIONS_MAX = 1536
DIMENSIONS_MIN = 32  # observed 2026: "range [32, 1536]"; the schema says 1
VECTOR_ID_BYTES_MAX = 64  # UTF-8, not characters
METADATA_BYTES_MAX = 10_240  # compact JSON
NAMESPACE_BYTES_MAX = 64  # UTF-8, of its name
NAMESPACES_MAX = 50_000  # of one index, on the paid plan
FREE_NAMESPACES_MAX = 1_000
# The largest integer that no other integer shares its double with. 2^53 + 1 is read as 2^53 by
# every reader that keeps numbers as doubles, the target and JavaScript among them.
EXACT_INTEGER_MAX = 2**53 - 1
METADATA_INDEXES_MAX = 10
INDEXED_STRING_BYTES_MAX = 64  # longer strings are indexed by their first 64 bytes
INDEX_NAME_BYTES_MAX = 64
VECTORS_PER_INDEX_MAX = 20_000_000  # 2026-08-05; 10 million and 5 million in earlier texts

# Requests to a vector index.
VECTORS_PER_UPLOAD_MAX = 5_000  # V-LIM, over HTTP
UPLOAD_BYTES_MAX = 100_000_000  # V-LIM "100 MB"; the smaller of the two readings
UPLOAD_BYTES_MIN = 86  # q2v's own: the shortest line that 32 values can make
UPLOADS_IN_FLIGHT_MAX = 8  # q2v's own: one vector of each is read back
FETCH_IDS_MAX = 20  # observed by many up to 2026-10, code 40007
DELETE_IDS_MAX = 100  # measured 2026-09-14, code 40007
LIST_IDS_MAX = 1_000  # V-LIM
QUERY_IDS_MAX = 100  # V-LIM; 50 with values or all metadata

# Requests that read vectors at once. q2v's own: 32 reads at 200 ms each are forty times what
# the request budget allows.
READS_IN_FLIGHT_MAX = 32

# Requests of 2,000 vectors that a verifier gets at once. q2v's own: each has six reads under way.
VERIFIER_REQUESTS_MAX = 32

# Settings for which no service has a limit. q2v's own: beyond any use, and exact in JSON.
SETTING_COUNT_MAX = 1_000_000_000_000
DEADLINE_S_MAX = 31_536_000  # a year

# Workers KV: KV-LIM, KV-WRITE.
KV_KEY_BYTES_MAX = 512
KV_VALUE_BYTES_MAX = 25 * 1024 * 1024
KV_METADATA_BYTES_MAX = 1_024
KV_TTL_S_MIN = 60
KV_TTL_S_MAX = 3_153_600_000  # q2v's own: a hundred years; the service documents no maximum
KV_KEY_WRITE_GAP_S = 1.0  # between two writes of one key
KV_PAIRS_PER_WRITE_MAX = 10_000
KV_WRITE_BYTES_MAX = 100_000_000
KV_KEYS_PER_DELETE_MAX = 10_000
KV_READ_KEYS_MAX = 100
KV_LIST_KEYS_MAX = 1_000
KV_NAMESPACES_MAX = 1_000  # per account

# Prices: V-PRICE and the KV part of workers/platform/pricing, both 2026.
PRICES_AS_OF = "2026-04-21"
INCLUDED_STORED_DIMENSIONS = 10_000_000
USD_PER_STORED_DIMENSION = 0.05 / 100_000_000  # per month
FREE_STORED_DIMENSIONS = 5_000_000
FREE_KV_WRITES_PER_DAY = 1_000  # KV-LIM: to different keys; Workers Paid has no limit
INCLUDED_KV_WRITES = 1_000_000  # per month
USD_PER_KV_WRITE = 5.00 / 1_000_000
INCLUDED_QUERIED_DIMENSIONS = 50_000_000  # per month: (queries + vectors) * dimensions
USD_PER_QUERIED_DIMENSION = 0.01 / 1_000_000
# A body is encoded and sent in pieces; 256 kB pieces take one and a half times as long.
PIECE_BYTES = 1024 * 1024

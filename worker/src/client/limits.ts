/** Limits of Vectorize and Workers KV, as a Worker's bindings have them (2026-11). */

/** Vectors of one upsert through the binding; the REST interface takes 5,000. */
export const VECTORS_PER_UPSERT = 1_000;
/** Ids of one `getByIds`. */
export const IDS_PER_GET = 20;
/** Ids of one `deleteByIds`. */
export const IDS_PER_DELETE = 100;
/** Bytes of a vector's id in UTF-8. */
export const VECTOR_ID_BYTES = 64;
/** Bytes of a vector's metadata as compact JSON. */
export const METADATA_BYTES = 10_240;
/** Bytes of a namespace's name. */
export const NAMESPACE_BYTES = 64;
/** Bytes of an index's name. */
export const INDEX_NAME_BYTES = 64;
export const DIMENSIONS_MIN = 32;
export const DIMENSIONS_MAX = 1_536;
/** Keys of one `get` with a list. */
export const KV_KEYS_PER_GET = 100;
/** Bytes of a KV key in UTF-8. */
export const KV_KEY_BYTES = 512;
/** Bytes of a KV value. */
export const KV_VALUE_BYTES = 25 * 1024 * 1024;
export const KV_TTL_S_MIN = 60;
/** Bytes of a KV entry's metadata as JSON. */
export const KV_METADATA_BYTES = 1_024;
/** Requests of one invocation that may wait for an answer at once. */
export const CONNECTIONS = 6;

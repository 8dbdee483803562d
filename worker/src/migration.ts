/** The names of the migration, as `q2v worker init` writes them. */

import { type FileStoreRules, VectorizeClient } from "./client";

/** What the Worker finds in `env`. */
export interface Env {
  VECTORIZE_INDEX: Vectorize;
  FILE_VECTOR_INDEX: KVNamespace;
}

/** The bindings in wrangler's file: those of Vectorize with their index, and that of KV. */
export const BINDINGS = {
  vectorize: {
    VECTORIZE_INDEX: "chunks-2026-11",
  },
  kv: "FILE_VECTOR_INDEX",
} as const;

/** The rules that filled the index. Ask the embedding model for the same number of `dimensions`. */
export const RULES: FileStoreRules = {
  dimensions: 1536,
  metric: "cosine",
  groupKey: "file_id",
  orderKey: "chunk_index",
  hashKey: "chunk_hash",
  idTemplate: "{file_id}_{chunk_index}",
  keyTemplate: "file:{file_id}",
  counterKey: "_vector_count",
  nulls: "refuse",
};

let store: VectorizeClient | undefined;

/** The store of this isolate. It remembers what it wrote, which KV shows a minute later. */
export function openStore(env: Env): VectorizeClient {
  store ??= new VectorizeClient(env.VECTORIZE_INDEX, env.FILE_VECTOR_INDEX, RULES);
  return store;
}

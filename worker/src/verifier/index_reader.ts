/**
 * The only two things that the verifier can do with an index. The rest of its code gets this
 * interface, not the binding, which could also write and delete.
 */

import type { ReadVector } from "./digest.ts";

/** What a Vectorize index says of itself. */
export interface IndexInfo {
  dimensions: number;
  vectorCount: number;
  processedUpToMutation?: string | number;
}

export interface IndexReader {
  describe(): Promise<IndexInfo>;
  getByIds(ids: string[]): Promise<ReadVector[]>;
}

/** The reading half of a binding. */
export function readerOf(binding: Vectorize): IndexReader {
  return {
    describe: async () => await binding.describe(),
    getByIds: async (ids) => await binding.getByIds(ids),
  };
}

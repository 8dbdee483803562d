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

/** The configuration of this Worker cannot be used. */
export class ConfigurationError extends Error {}

/**
 * Name of each index -> the reading half of its binding.
 *
 * A binding does not say the name of its index, so `names` has it: name of each index -> name of its binding in
 * `env`. The names are for addressing alone; q2v proves which index a binding reads (docs/decisions/0051).
 * Throws ConfigurationError.
 */
export function readersOf(env: object, names: unknown): Map<string, IndexReader> {
  if (typeof names !== "object" || names === null || Object.keys(names).length === 0) {
    throw new ConfigurationError(
      "VECTORIZE_INDEXES: found no object of index name to binding name",
    );
  }
  const bindings = env as Readonly<Record<string, Vectorize | undefined>>;
  return new Map(
    Object.entries(names).map(([index, name]) => {
      const binding = bindings[String(name)];
      if (typeof binding?.getByIds !== "function") {
        throw new ConfigurationError(
          `VECTORIZE_INDEXES: found '${name}' for index '${index}', which is no Vectorize binding`,
        );
      }
      return [index, readerOf(binding)];
    }),
  );
}

/** The reading half of a binding. */
function readerOf(binding: Vectorize): IndexReader {
  return {
    describe: async () => await binding.describe(),
    getByIds: async (ids) => await binding.getByIds(ids),
  };
}

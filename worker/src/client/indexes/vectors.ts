/** The vector index behind a binding: as many requests as its limits ask for, each repeated safely. */

import { batches, inLanes, slices } from "../batches";
import type { CheckedVector } from "../check";
import { counted, PreconditionError } from "../errors";
import { CONNECTIONS, IDS_PER_DELETE, IDS_PER_GET, VECTORS_PER_UPSERT } from "../limits";
import { type RetryRules, repeat } from "../retry";

/** What the index says about itself. */
export interface IndexState {
  readonly dimensions: number;
  /** All vectors of the index; may be some seconds old. */
  readonly vectors: number;
  /** The last mutation that readers see. */
  readonly processedUpToMutation: string | null;
}

/** How the index is asked. */
export interface VectorIndexRules {
  readonly retry: RetryRules;
  /** Bytes of one upsert. The runtime holds the body several times, in 128 MB. */
  readonly bodyBytesMax: number;
  /** Namespace of all vectors; those of others are not seen. */
  readonly namespace: string | undefined;
}

/** A vector index. All writes are *accepted* when a call returns; readers see them later. */
export class VectorIndex {
  readonly #binding: Vectorize;
  readonly #rules: VectorIndexRules;
  readonly #place: string;

  /** `name` is for messages; null when there is one index, which needs none. */
  constructor(binding: Vectorize, rules: VectorIndexRules, name: string | null) {
    this.#binding = binding;
    this.#rules = rules;
    this.#place = name === null ? "" : `index '${name}': `;
  }

  /** Write the vectors, one request after the other. The id of the last mutation; null without one. */
  async upsert(vectors: readonly CheckedVector[]): Promise<string | null> {
    const { bodyBytesMax, namespace } = this.#rules;
    const limits = { countMax: VECTORS_PER_UPSERT, bytesMax: bodyBytesMax };
    let last: string | null = null;
    for (const batch of batches(vectors, limits)) {
      const sent = batch.map(({ id, values, metadata }) => ({
        id,
        values,
        metadata,
        ...(namespace === undefined ? {} : { namespace }),
      }));
      const what = `${this.#place}upsert of ${counted(batch.length, "vector")} from '${batch[0]?.id}'`;
      last = await this.#mutate(what, () => this.#binding.upsert(sent));
    }
    return last;
  }

  /** Remove the vectors, one request after the other. The id of the last mutation; null without one. */
  async remove(ids: readonly string[]): Promise<string | null> {
    let last: string | null = null;
    for (const some of slices(ids, IDS_PER_DELETE)) {
      const what = `${this.#place}deletion of ${counted(some.length, "vector")} from '${some[0]}'`;
      last = await this.#mutate(what, () => this.#binding.deleteByIds(some));
    }
    return last;
  }

  /** Those of the vectors that readers see now, by id. */
  async fetch(ids: readonly string[]): Promise<Map<string, VectorizeVector>> {
    const distinct = [...new Set(ids)];
    const answers = await inLanes(slices(distinct, IDS_PER_GET), CONNECTIONS, (some) =>
      this.#fetchSome(some),
    );
    const seen = answers.flat().filter((vector) => this.#isOurs(vector));
    return new Map(seen.map((vector) => [vector.id, vector]));
  }

  /** What the index says about itself now. Throws PreconditionError without an index. */
  async describe(): Promise<IndexState> {
    const what = `${this.#place}description of the index`;
    const info = await repeat(what, this.#rules.retry, () => this.#binding.describe());
    const mutation: unknown = info.processedUpToMutation; // the type says number, the service text
    return {
      dimensions: info.dimensions,
      vectors: info.vectorCount ?? 0,
      processedUpToMutation: typeof mutation === "string" ? mutation : null,
    };
  }

  async #fetchSome(ids: string[]): Promise<VectorizeVector[]> {
    const what = `${this.#place}read of ${counted(ids.length, "vector")} from '${ids[0]}'`;
    const vectors = await repeat(what, this.#rules.retry, () => this.#binding.getByIds(ids));
    const foreign = vectors.find((vector) => !ids.includes(vector.id));
    if (foreign !== undefined) {
      throw new PreconditionError(
        `${what}: found vector '${foreign.id}', which was not asked for`,
        "report it to the service: an answer belongs to another request",
      );
    }
    return vectors;
  }

  #isOurs(vector: VectorizeVector): boolean {
    const { namespace } = this.#rules;
    return namespace === undefined || vector.namespace === namespace;
  }

  async #mutate(what: string, send: () => Promise<VectorizeAsyncMutation>): Promise<string> {
    return (await repeat(what, this.#rules.retry, send)).mutationId;
  }
}

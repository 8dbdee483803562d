/** One index of the store, with what this object has written to it lately. */

import type { CheckedVector } from "../check";
import { LastWrites } from "./settle";
import type { IndexState, VectorIndex } from "./vectors";

/** For so long the index may show vectors whose deletion was accepted. */
export const PROCESSED_WITHIN_MS = 300_000;

/** A vector index that remembers what was accepted: readers see that later. */
export class OpenedIndex {
  /** As the record of bindings has it; null in a store of one index. */
  readonly name: string | null;
  readonly #index: VectorIndex;
  readonly #last = new LastWrites();
  readonly #removed = new Map<string, number>(); // id -> when its deletion was accepted, ms

  constructor(name: string | null, index: VectorIndex) {
    this.name = name;
    this.#index = index;
  }

  /** Write the vectors. */
  async upsert(vectors: readonly CheckedVector[]): Promise<void> {
    this.#last.upserted(await this.#index.upsert(vectors), vectors);
    for (const { id } of vectors) {
      this.#removed.delete(id);
    }
  }

  /** Remove the vectors. */
  async remove(ids: readonly string[]): Promise<void> {
    this.#last.removed(await this.#index.remove(ids), ids);
    const nowMs = Date.now();
    for (const [id, atMs] of this.#removed) {
      if (atMs < nowMs - PROCESSED_WITHIN_MS) {
        this.#removed.delete(id);
      }
    }
    for (const id of ids) {
      this.#removed.set(id, nowMs);
    }
  }

  /** Whether this object has removed a vector that the index may still show. */
  wasRemoved(id: string): boolean {
    const atMs = this.#removed.get(id);
    return atMs !== undefined && atMs >= Date.now() - PROCESSED_WITHIN_MS;
  }

  /** See VectorIndex. */
  fetch(ids: readonly string[]): Promise<Map<string, VectorizeVector>> {
    return this.#index.fetch(ids);
  }

  /** See VectorIndex. */
  describe(): Promise<IndexState> {
    return this.#index.describe();
  }

  /** Wait until readers see what was written. Throws RemoteUnavailableError after `timeoutMs`. */
  wait(timeoutMs: number, pollMs: number): Promise<void> {
    return this.#last.wait(this.#index, timeoutMs, pollMs);
  }
}

/** Wait until readers see what was written last. */

import type { CheckedVector } from "../check";
import { RemoteUnavailableError } from "../errors";
import { IDS_PER_GET } from "../limits";
import { pause } from "../retry";
import type { VectorIndex } from "./vectors";

/** What was accepted last: the mutation, and what each of the last ids holds afterwards. */
export class LastWrites {
  #mutationId: string | null = null;
  readonly #expected = new Map<string, CheckedVector | null>();

  /** Note vectors that were accepted. */
  upserted(mutationId: string | null, vectors: readonly CheckedVector[]): void {
    this.#note(
      mutationId,
      vectors.map((vector) => [vector.id, vector]),
    );
  }

  /** Note ids whose deletion was accepted. */
  removed(mutationId: string | null, ids: readonly string[]): void {
    this.#note(
      mutationId,
      ids.map((id) => [id, null]),
    );
  }

  #note(mutationId: string | null, states: (readonly [string, CheckedVector | null])[]): void {
    this.#mutationId = mutationId ?? this.#mutationId;
    for (const [id, state] of states.slice(-IDS_PER_GET)) {
      this.#expected.delete(id);
      this.#expected.set(id, state);
    }
    for (const id of [...this.#expected.keys()].slice(0, -IDS_PER_GET)) {
      this.#expected.delete(id);
    }
  }

  /**
   * Return when the index shows the writes: it names the last mutation, or twice in a row shows the
   * contents. It may never name the mutation, because it processes many at once.
   *
   * Throws RemoteUnavailableError after `timeoutMs`.
   */
  async wait(index: VectorIndex, timeoutMs: number, pollMs: number): Promise<void> {
    const endMs = Date.now() + timeoutMs;
    let seen = 0;
    while (this.#mutationId !== null) {
      const { processedUpToMutation } = await index.describe();
      seen = (await this.#isVisible(index)) ? seen + 1 : 0;
      if (processedUpToMutation === this.#mutationId || seen >= 2) {
        return;
      }
      if (Date.now() > endMs) {
        throw new RemoteUnavailableError(
          `mutation ${this.#mutationId} is not visible after ${timeoutMs} ms`,
          "call again; the writes were accepted and will be processed",
        );
      }
      await pause(pollMs);
    }
  }

  async #isVisible(index: VectorIndex): Promise<boolean> {
    const found = await index.fetch([...this.#expected.keys()]);
    return [...this.#expected].every(([id, expected]) => isAs(expected, found.get(id)));
  }
}

function isAs(expected: CheckedVector | null, found: VectorizeVector | undefined): boolean {
  if (expected === null || found === undefined) {
    return expected === null && found === undefined;
  }
  const values = Array.from(found.values);
  return (
    values.length === expected.values.length &&
    values.every((value, at) => Math.fround(value) === Math.fround(expected.values[at] ?? 0)) &&
    sorted(found.metadata) === sorted(expected.metadata)
  );
}

/** JSON whose keys are in one order. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

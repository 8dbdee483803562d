/**
 * The store of a sync service over a Vectorize binding and a KV namespace.
 *
 * The order of the writes is the safety argument (decisions 0048 and 0055). Vectors are written before the
 * entry that names them, and removed after the entry no longer names them: so it never names a vector
 * that is not there. What an invocation left undone is found in the index by the next call that writes
 * the file. The counter comes last, and is the number that the index announces.
 */

import { inLanes } from "./batches";
import { type CheckedVector, checkVectors, type FileVector } from "./check";
import {
  common,
  type FileEntries,
  type FileEntry,
  type FileIds,
  isSame,
  merged,
  others,
  reduced,
  unnamed,
} from "./entry";
import { PreconditionError, UsageError } from "./errors";
import { FileIndex } from "./file_index";
import { CONNECTIONS } from "./limits";
import { idsInDoubt, removalSteps } from "./removal";
import { findUnlisted, idsThatMayFollow } from "./repair";
import { DEFAULT_RETRY, type RetryRules } from "./retry";
import { DEFAULT_RULES, type FileChunk, type FileStoreRules, Naming } from "./rules";
import { LastWrites } from "./settle";
import { VectorIndex } from "./vectors";

/** The rules of the move, and how the services are asked. Only `dimensions` has no default. */
export type VectorizeClientOptions = Partial<FileStoreRules> &
  Pick<FileStoreRules, "dimensions"> & {
    readonly retry?: Partial<RetryRules>;
    /** Bytes of one upsert; 10 MB. */
    readonly bodyBytesMax?: number;
  };

/** A vector index as its service describes it now. */
export interface CollectionInfo {
  readonly dimensions: number;
  readonly metric: string;
  /** All vectors of the index, those of other writers included; may be some seconds old. */
  readonly vectors: number;
  /** The last mutation that readers see. */
  readonly processedUpToMutation: string | null;
}

/** A vector as it is read. */
export interface StoredVector extends FileVector {
  readonly values: number[];
}

const BODY_BYTES_MAX = 10_000_000;
/** For so long the index may show vectors whose deletion was accepted. */
const PROCESSED_WITHIN_MS = 300_000;

/**
 * The chunks of files as vectors, with a KV entry for each file and a counter.
 *
 * Keep one object for an isolate, or for an invocation at least: it remembers what it has written, and
 * KV and the index show that a minute later. A call that writes returns when its vectors are
 * *accepted*; `waitUntilProcessed` waits until readers see them. After an error or a kill, make the
 * same call again. Ids that do not exist are no error.
 *
 * Throws UsageError before anything is sent; PreconditionError and TargetRefusedError when repeating does
 * not help; RemoteUnavailableError after its own repetitions.
 */
export class VectorizeClient {
  readonly #naming: Naming;
  readonly #index: VectorIndex;
  readonly #files: FileIndex;
  readonly #last = new LastWrites();
  readonly #removed = new Map<string, number>(); // id -> when its deletion was accepted, ms

  /** Sends nothing. Throws PreconditionError for rules that the services cannot meet. */
  constructor(vectorize: Vectorize, kv: KVNamespace, options: VectorizeClientOptions) {
    const { retry, bodyBytesMax = BODY_BYTES_MAX, ...rules } = options;
    const retryRules = { ...DEFAULT_RETRY, ...retry };
    this.#naming = new Naming({ ...DEFAULT_RULES, ...rules });
    const { namespace } = this.#naming.rules;
    this.#index = new VectorIndex(vectorize, { retry: retryRules, bodyBytesMax, namespace });
    this.#files = new FileIndex(kv, this.#naming, retryRules);
  }

  /**
   * Check the index and write the counter. A Worker cannot create an index: `q2v provision` does.
   *
   * Throws PreconditionError when the index does not exist or has other dimensions.
   */
  async initializeCollection(): Promise<void> {
    await this.getCollectionInfo();
    await this.refreshCounter();
  }

  /**
   * Write the vectors; those with the same ids are replaced as a whole.
   *
   * Other vectors of the same files stay. With `wholeFiles` the files hold exactly `vectors` afterwards:
   * use it when a file has changed, because it may have become shorter.
   *
   * Throws UsageError, and sends nothing, when one of them has another number of values, NaN, only zeros,
   * metadata that the index cannot hold, an id that its metadata does not make, or an id twice.
   */
  async upsertVectors(
    vectors: readonly FileVector[],
    options: { readonly wholeFiles?: boolean } = {},
  ): Promise<void> {
    const checked = checkVectors(vectors, this.#naming);
    if (checked.length === 0) {
      return;
    }
    const written = groupByFile(checked);
    const former = await this.#files.read([...written.keys()]);
    this.#files.check(merged(former, written));
    await this.#upsert(checked);
    const entries = await this.#entriesNow(former, written);
    await this.#write(entries, options.wholeFiles === true ? others(entries, written) : new Map());
    await this.refreshCounter();
  }

  /** The vectors of a file by ascending chunk number, as readers see them; empty for an unknown file. */
  async getVectorsByFileId(fileId: string): Promise<StoredVector[]> {
    this.#naming.checkFileId(fileId);
    const { ids = [] } = (await this.#files.read([fileId])).get(fileId) ?? {};
    const found = await this.#index.fetch(ids);
    return ids.flatMap((id) => {
      const vector = found.get(id);
      return vector === undefined
        ? []
        : [{ id, values: Array.from(vector.values), metadata: vector.metadata ?? {} }];
    });
  }

  /** Remove the vectors. Throws UsageError for an id that `generateVectorId` never makes. */
  async deleteVectorsByIds(ids: readonly string[]): Promise<void> {
    const asked = this.#parseIds(ids);
    if (asked.size === 0) {
      return;
    }
    const former = await this.#files.read([...asked.keys()]);
    const entries = await this.#entriesNow(former);
    const removed = common(entries, asked);
    const changed = [...entries].filter(
      ([fileId, entry]) => removed.has(fileId) || !isSame(entry, former.get(fileId)),
    );
    await this.#write(new Map(changed), removed, unnamed(asked, removed));
    await this.refreshCounter();
  }

  /** Remove all vectors of a file. */
  async deleteVectorsByFileId(fileId: string): Promise<void> {
    this.#naming.checkFileId(fileId);
    const entries = await this.#entriesNow(await this.#files.read([fileId]));
    const { ids = [] } = entries.get(fileId) ?? {};
    // In another namespace the same id may belong to others: only what was found is removed.
    const isShared = this.#naming.rules.namespace !== undefined;
    const more = isShared ? [] : idsThatMayFollow(this.#naming, fileId, ids);
    await this.#write(entries, new Map([[fileId, ids]]), more);
    await this.refreshCounter();
  }

  /** Shape and size of the index. Throws PreconditionError when it has other dimensions. */
  async getCollectionInfo(): Promise<CollectionInfo> {
    const state = await this.#index.describe();
    const { dimensions, metric } = this.#naming.rules;
    if (state.dimensions !== dimensions) {
      throw new PreconditionError(
        `the index has ${state.dimensions} dimensions, the store was opened for ${dimensions}`,
        "bind the index of the migration, or correct `dimensions`",
      );
    }
    return { ...state, metric };
  }

  /** The number of vectors in the index, those of other writers included; may be some seconds old. */
  async countVectors(): Promise<number> {
    return (await this.#index.describe()).vectors;
  }

  /** Write the counter as the index announces it now, and return it. For a cron trigger, for example. */
  refreshCounter(): Promise<number> {
    return this.#files.writeCounter(() => this.countVectors());
  }

  /**
   * Wait until readers see what this object has written, then put the counter right.
   *
   * Throws RemoteUnavailableError when that takes longer than `timeoutMs`.
   */
  async waitUntilProcessed(
    options: { readonly timeoutMs?: number; readonly pollMs?: number } = {},
  ): Promise<void> {
    const { timeoutMs = 180_000, pollMs = 2_000 } = options;
    await this.#last.wait(this.#index, timeoutMs, pollMs);
    await this.refreshCounter();
  }

  /** The id of a chunk. Throws UsageError for one of more than 64 bytes. */
  generateVectorId(fileId: string, chunkIndex: number): string {
    return this.#naming.vectorId(fileId, chunkIndex);
  }

  /** The inverse of `generateVectorId`; null for an id that it never makes. */
  parseVectorId(vectorId: string): FileChunk | null {
    return this.#naming.parse(vectorId);
  }

  /** The entries of the files as the index shows them now, with what this call has `written`. */
  async #entriesNow(former: FileEntries, written: FileIds = new Map()): Promise<FileEntries> {
    const found = new Map<string, FileEntry>();
    await inLanes([...former], CONNECTIONS, async ([fileId, entry]) => {
      found.set(fileId, await this.#entryNow(fileId, entry, written.get(fileId) ?? []));
    });
    return found;
  }

  async #entryNow(
    fileId: string,
    entry: FileEntry,
    written: readonly string[],
  ): Promise<FileEntry> {
    const inDoubt = new Set(idsInDoubt(this.#naming, fileId, entry));
    const certain = new Set([...entry.ids.filter((id) => !inDoubt.has(id)), ...written]);
    const asked = [...inDoubt].filter((id) => !certain.has(id));
    const shown = await findUnlisted(this.#index, this.#naming, fileId, certain, asked);
    const ids = this.#inOrder([...certain, ...shown.filter((id) => !this.#wasRemoved(id))]);
    // The index may still show a vector whose deletion was accepted: the next call looks again.
    const isSettled =
      ids.length === 0 || (entry.removal?.sinceMs ?? 0) < Date.now() - PROCESSED_WITHIN_MS;
    const numbers = new Set(written.map((id) => this.#naming.parse(id)?.chunkIndex ?? -1));
    return { ids, removal: isSettled ? null : reduced(entry.removal, numbers) };
  }

  /** Write the entries, without `removed`; remove these vectors and `more`. */
  async #write(
    entries: FileEntries,
    removed: FileIds,
    more: readonly string[] = [],
  ): Promise<void> {
    const steps = removalSteps(this.#naming, entries, removed, more, Date.now());
    for (const step of steps) {
      await this.#files.write(step.entries);
      await this.#remove(step.vectorIds);
    }
  }

  async #upsert(vectors: readonly CheckedVector[]): Promise<void> {
    this.#last.upserted(await this.#index.upsert(vectors), vectors);
    for (const { id } of vectors) {
      this.#removed.delete(id);
    }
  }

  async #remove(ids: readonly string[]): Promise<void> {
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

  #wasRemoved(id: string): boolean {
    const atMs = this.#removed.get(id);
    return atMs !== undefined && atMs >= Date.now() - PROCESSED_WITHIN_MS;
  }

  /** File -> ids, each once. Throws UsageError for an id of another form. */
  #parseIds(ids: readonly string[]): Map<string, string[]> {
    const found = new Map<string, Set<string>>();
    for (const id of ids) {
      const chunk = this.#naming.parse(id);
      if (chunk === null) {
        throw new UsageError(
          `vector id ${JSON.stringify(id)}: expected the form ${this.#naming.rules.idTemplate}`,
          "pass ids that generateVectorId has made; nothing was sent",
        );
      }
      found.set(chunk.fileId, (found.get(chunk.fileId) ?? new Set()).add(id));
    }
    return new Map([...found].map(([fileId, some]) => [fileId, [...some]]));
  }

  /** Ids by chunk number, each once; those in a form of another program come last. */
  #inOrder(ids: readonly string[]): string[] {
    const place = (id: string): number =>
      this.#naming.parse(id)?.chunkIndex ?? Number.POSITIVE_INFINITY;
    return [...new Set(ids)]
      .map((id) => [place(id), id] as const)
      .sort(([first], [second]) => (first === second ? 0 : first - second))
      .map(([, id]) => id);
  }
}

function groupByFile(vectors: readonly CheckedVector[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { id, chunk } of vectors) {
    const ids = found.get(chunk.fileId);
    if (ids === undefined) {
      found.set(chunk.fileId, [id]);
    } else {
      ids.push(id);
    }
  }
  return found;
}

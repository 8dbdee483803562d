/**
 * The store of a sync service over a Vectorize binding and a KV namespace.
 *
 * The order of the writes is the safety argument (decisions 0048 and 0055). Vectors are written before the
 * entry that names them, and removed after the entry no longer names them: so it never names a vector
 * that is not there. What an invocation left undone is found in the index by the next call that writes
 * the file. The counter comes last, and is the number that the index announces.
 *
 * With several indexes each file is in one of them (decision 0076), and what a call does is done for the files of
 * one index after those of another: the order holds for each by itself.
 */

import { inLanes } from "./batches";
import { type CheckedVector, checkVectors, type FileVector } from "./check";
import { PreconditionError, UsageError } from "./errors";
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
} from "./files/entry";
import { FileIndex } from "./files/file_index";
import { idsInDoubt, removalSteps } from "./files/removal";
import { Indexes, indexNames, type VectorizeBindings } from "./indexes/indexes";
import { type OpenedIndex, PROCESSED_WITHIN_MS } from "./indexes/opened_index";
import { findUnlisted, idsThatMayFollow } from "./indexes/repair";
import type { IndexState } from "./indexes/vectors";
import { CONNECTIONS } from "./limits";
import { DEFAULT_RETRY, type RetryRules } from "./retry";
import { DEFAULT_RULES, type FileChunk, type FileStoreRules, Naming } from "./rules";

/** The rules of the move, and how the services are asked. Only `dimensions` has no default. */
export type VectorizeClientOptions = Partial<FileStoreRules> &
  Pick<FileStoreRules, "dimensions"> & {
    readonly retry?: Partial<RetryRules>;
    /** Bytes of one upsert; 10 MB. */
    readonly bodyBytesMax?: number;
  };

/** A vector index, or several of one shape, as the service describes them now. */
export interface CollectionInfo {
  readonly dimensions: number;
  readonly metric: string;
  /** All vectors, those of other writers included; may be some seconds old. */
  readonly vectors: number;
  /** The last mutation that readers see; null for several indexes, of which each has its own. */
  readonly processedUpToMutation: string | null;
  /** With several indexes: name of the index -> how it is. */
  readonly indexes?: Readonly<Record<string, IndexState>>;
}

/** A vector as it is read. */
export interface StoredVector extends FileVector {
  readonly values: number[];
}

const BODY_BYTES_MAX = 10_000_000;

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
  readonly #indexes: Indexes;
  readonly #files: FileIndex;

  /**
   * Sends nothing. `vectorize` is the binding of the one index, or a record of index name -> binding for a
   * collection over several: pass all of `target.shards`, under their names.
   *
   * Throws PreconditionError for rules that the services cannot meet.
   */
  constructor(vectorize: VectorizeBindings, kv: KVNamespace, options: VectorizeClientOptions) {
    const { retry, bodyBytesMax = BODY_BYTES_MAX, ...rules } = options;
    const retryRules = { ...DEFAULT_RETRY, ...retry };
    this.#naming = new Naming({ ...DEFAULT_RULES, ...rules }, indexNames(vectorize));
    const { namespace } = this.#naming.rules;
    const ofIndex = { retry: retryRules, bodyBytesMax, namespace };
    this.#indexes = new Indexes(vectorize, this.#naming, ofIndex);
    this.#files = new FileIndex(kv, this.#naming, retryRules);
  }

  /**
   * Check each index and write its counter. A Worker cannot create an index: `q2v provision` does.
   *
   * Throws PreconditionError when an index does not exist or has other dimensions.
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
    for (const [index, files] of await this.#indexes.place(former, written)) {
      await index.upsert(checked.filter(({ chunk }) => files.has(chunk.fileId)));
      const entries = await this.#entriesNow(index, files, written);
      const removed = options.wholeFiles === true ? others(entries, written) : new Map();
      await this.#write(index, entries, removed);
      await this.#writeCounter(index);
    }
  }

  /** The vectors of a file by ascending chunk number, as readers see them; empty for an unknown file. */
  async getVectorsByFileId(fileId: string): Promise<StoredVector[]> {
    this.#naming.checkFileId(fileId);
    const entry = (await this.#files.read([fileId])).get(fileId);
    if (entry === undefined || entry.ids.length === 0) {
      return [];
    }
    const { ids } = entry;
    const found = await this.#indexes.of(entry).fetch(ids);
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
    for (const [index, files] of await this.#indexes.place(former, asked)) {
      const entries = await this.#entriesNow(index, files);
      const removed = common(entries, asked);
      const changed = [...entries].filter(
        ([fileId, entry]) => removed.has(fileId) || !isSame(entry, files.get(fileId)),
      );
      const ofFiles = new Map([...asked].filter(([fileId]) => files.has(fileId)));
      await this.#write(index, new Map(changed), removed, unnamed(ofFiles, removed));
      await this.#writeCounter(index);
    }
  }

  /** Remove all vectors of a file. */
  async deleteVectorsByFileId(fileId: string): Promise<void> {
    this.#naming.checkFileId(fileId);
    const former = await this.#files.read([fileId]);
    for (const [index, files] of await this.#indexes.place(former, new Map())) {
      const entries = await this.#entriesNow(index, files);
      const { ids = [] } = entries.get(fileId) ?? {};
      // In another namespace the same id may belong to others: only what was found is removed.
      const isShared = this.#naming.rules.namespace !== undefined;
      const more = isShared ? [] : idsThatMayFollow(this.#naming, fileId, ids);
      await this.#write(index, entries, new Map([[fileId, ids]]), more);
      await this.#writeCounter(index);
    }
  }

  /** Shape and size of the index, or of all. Throws PreconditionError when one has other dimensions. */
  async getCollectionInfo(): Promise<CollectionInfo> {
    const { dimensions, metric } = this.#naming.rules;
    const states = await this.#describe();
    for (const [name, state] of states) {
      if (state.dimensions !== dimensions) {
        throw new PreconditionError(
          `the index ${name === null ? "" : `'${name}' `}has ${state.dimensions} dimensions, the ` +
            `store was opened for ${dimensions}`,
          "bind the index of the migration, or correct `dimensions`",
        );
      }
    }
    const ofOne = this.#naming.indexes === null ? states.get(null) : undefined;
    return {
      dimensions,
      metric,
      vectors: sum([...states.values()].map(({ vectors }) => vectors)),
      processedUpToMutation: ofOne?.processedUpToMutation ?? null,
      ...(ofOne === undefined ? { indexes: Object.fromEntries(states) } : {}),
    };
  }

  /** The number of vectors, those of other writers included; may be some seconds old. */
  async countVectors(): Promise<number> {
    return sum([...(await this.#describe()).values()].map(({ vectors }) => vectors));
  }

  /**
   * Write the counter of each index as that announces it now, and return their sum. For a cron trigger, for
   * example.
   */
  async refreshCounter(): Promise<number> {
    return sum(await inLanes(this.#indexes.all, CONNECTIONS, (index) => this.#writeCounter(index)));
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
    await Promise.all(this.#indexes.all.map((index) => index.wait(timeoutMs, pollMs)));
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

  /** Name -> how the index is. */
  async #describe(): Promise<Map<string | null, IndexState>> {
    const states = await inLanes(
      this.#indexes.all,
      CONNECTIONS,
      async (index) => [index.name, await index.describe()] as const,
    );
    return new Map(states);
  }

  #writeCounter(index: OpenedIndex): Promise<number> {
    return this.#files.writeCounter(index.name, async () => (await index.describe()).vectors);
  }

  /** The entries of files as their index shows them now, with what this call has `written`. */
  async #entriesNow(
    index: OpenedIndex,
    former: FileEntries,
    written: FileIds = new Map(),
  ): Promise<FileEntries> {
    const found = new Map<string, FileEntry>();
    await inLanes([...former], CONNECTIONS, async ([fileId, entry]) => {
      found.set(fileId, await this.#entryNow(index, fileId, entry, written.get(fileId) ?? []));
    });
    return found;
  }

  async #entryNow(
    index: OpenedIndex,
    fileId: string,
    entry: FileEntry,
    written: readonly string[],
  ): Promise<FileEntry> {
    const inDoubt = new Set(idsInDoubt(this.#naming, fileId, entry));
    const certain = new Set([...entry.ids.filter((id) => !inDoubt.has(id)), ...written]);
    const asked = [...inDoubt].filter((id) => !certain.has(id));
    const shown = await findUnlisted(index, this.#naming, fileId, certain, asked);
    const ids = this.#inOrder([...certain, ...shown.filter((id) => !index.wasRemoved(id))]);
    // The index may still show a vector whose deletion was accepted: the next call looks again.
    const isSettled =
      ids.length === 0 || (entry.removal?.sinceMs ?? 0) < Date.now() - PROCESSED_WITHIN_MS;
    const numbers = new Set(written.map((id) => this.#naming.parse(id)?.chunkIndex ?? -1));
    return { ...entry, ids, removal: isSettled ? null : reduced(entry.removal, numbers) };
  }

  /** Write the entries, without `removed`; remove these vectors and `more` from their index. */
  async #write(
    index: OpenedIndex,
    entries: FileEntries,
    removed: FileIds,
    more: readonly string[] = [],
  ): Promise<void> {
    for (const step of removalSteps(this.#naming, entries, removed, more, Date.now())) {
      await this.#files.write(step.entries);
      await index.remove(step.vectorIds);
    }
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

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

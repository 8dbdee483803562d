/**
 * The KV entries: the ids of each file with what is being removed, and the counter, as whole values.
 *
 * KV has no lock, no increment, and shows what was there a minute ago. So an entry is written as a
 * whole, and what this object has written itself counts instead of what KV shows.
 */

import { inLanes, slices } from "../batches";
import { counted, PreconditionError, RemoteUnavailableError, UsageError } from "../errors";
import { CONNECTIONS, KV_KEYS_PER_GET, KV_VALUE_BYTES } from "../limits";
import { type RetryRules, repeat, verdictOf } from "../retry";
import { type Naming, utf8Bytes } from "../rules";
import {
  type FileEntries,
  type FileEntry,
  type FileIds,
  indexIn,
  metadataOf,
  NO_ENTRY,
  placeOf,
  removalIn,
} from "./entry";

/** What this object wrote last for a file. */
interface Own {
  readonly entry: FileEntry;
  readonly atMs: number;
}

/** For so long KV may show what was there before a write. */
export const KV_SETTLE_MS = 90_000;
const CACHE_S = 30; // the least that KV takes

/** The entries of files, and the counter. */
export class FileIndex {
  readonly #kv: KVNamespace;
  readonly #naming: Naming;
  readonly #retry: RetryRules;
  readonly #own = new Map<string, Own>();

  constructor(kv: KVNamespace, naming: Naming, retry: RetryRules) {
    this.#kv = kv;
    this.#naming = naming;
    this.#retry = retry;
  }

  /**
   * The entry of each file; without ids for a file that has none. Ids of other files are left out.
   *
   * Throws PreconditionError for an entry in another form, and for one that names no index of this store.
   */
  async read(fileIds: readonly string[]): Promise<Map<string, FileEntry>> {
    this.#forgetOld();
    const unknown = fileIds.filter((fileId) => !this.#own.has(fileId));
    const shown = await this.#readKeys(unknown.map((fileId) => this.#naming.key(fileId)));
    const found = new Map<string, FileEntry>();
    for (const fileId of fileIds) {
      const entry = this.#own.get(fileId)?.entry ?? shown.get(this.#naming.key(fileId)) ?? NO_ENTRY;
      const ids = entry.ids.filter((id) => !this.#isElsewhere(id, fileId));
      found.set(fileId, { ...entry, ids });
    }
    return found;
  }

  /** Throws UsageError for a file with more ids than a KV value holds. */
  check(files: FileIds): void {
    for (const [fileId, ids] of files) {
      const size = utf8Bytes(JSON.stringify(ids));
      if (size > KV_VALUE_BYTES) {
        throw new UsageError(
          `file '${fileId}' would have ${ids.length} vectors: their ids make ${size} B, and a KV ` +
            `value takes ${KV_VALUE_BYTES}`,
          "split the file, or make larger chunks of it; nothing was sent",
        );
      }
    }
  }

  /**
   * Write each file's entry as a whole, with a new expiry if entries expire. The key of one without ids is
   * removed, unless it has to hold a removal.
   */
  async write(entries: FileEntries): Promise<void> {
    await inLanes([...entries], CONNECTIONS, async ([fileId, entry]) => {
      // Noted before it is sent: the entry is true of the index, whatever the answer.
      this.#own.set(fileId, { entry, atMs: Date.now() });
      const key = this.#naming.key(fileId);
      if (entry.ids.length === 0 && entry.removal === null) {
        await repeat(`removal of KV key '${key}'`, this.#retry, () => this.#kv.delete(key));
      } else {
        await repeat(`KV entry '${key}'`, this.#retry, () => this.#put(key, entry));
      }
    });
  }

  /**
   * Write the counter of an index, which never expires. `count` is asked for before each attempt.
   *
   * A key takes one write a second. When others keep writing it, theirs is as good.
   */
  async writeCounter(index: string | null, count: () => Promise<number>): Promise<number> {
    const key = this.#naming.counterKey(index);
    let vectors = 0;
    try {
      await repeat(`counter '${key}'`, this.#retry, async () => {
        vectors = await count();
        await this.#kv.put(key, String(vectors));
      });
    } catch (error) {
      const wasBusy = error instanceof RemoteUnavailableError && verdictOf(error.cause) === "busy";
      if (!wasBusy) {
        throw error;
      }
    }
    return vectors;
  }

  #put(key: string, entry: FileEntry): Promise<void> {
    const { ttlSeconds, namespace } = this.#naming.rules;
    const metadata = metadataOf(entry.removal, placeOf(entry, namespace));
    return this.#kv.put(key, JSON.stringify(entry.ids), {
      ...(ttlSeconds === undefined ? {} : { expirationTtl: ttlSeconds }),
      ...(metadata === null ? {} : { metadata }),
    });
  }

  async #readKeys(keys: readonly string[]): Promise<Map<string, FileEntry>> {
    const found = new Map<string, FileEntry>();
    for (const some of slices(keys, KV_KEYS_PER_GET)) {
      const what = `read of ${counted(some.length, "KV key")} from '${some[0]}'`;
      const shown = await repeat(what, this.#retry, () =>
        this.#kv.getWithMetadata(some, { type: "text", cacheTtl: CACHE_S }),
      );
      for (const [key, one] of shown) {
        // A key that is not there has null instead of both, which the type does not say.
        const value = one?.value ?? null;
        if (value !== null) {
          const index = indexIn(one.metadata);
          checkIndex(key, index, this.#naming.indexes);
          found.set(key, { ids: idsIn(key, value), removal: removalIn(one.metadata), index });
        }
      }
    }
    return found;
  }

  /** Whether an id belongs to another file. */
  #isElsewhere(id: string, fileId: string): boolean {
    const chunk = this.#naming.parse(id);
    return chunk !== null && chunk.fileId !== fileId;
  }

  #forgetOld(): void {
    const oldest = Date.now() - KV_SETTLE_MS;
    for (const [fileId, own] of this.#own) {
      if (own.atMs < oldest) {
        this.#own.delete(fileId);
      }
    }
  }
}

/** Throws PreconditionError for an entry of which the store does not know the index. */
function checkIndex(key: string, index: string | null, indexes: readonly string[] | null): void {
  if (indexes === null) {
    if (index !== null) {
      throw new PreconditionError(
        `KV entry '${key}' names the index '${index}', and the store was opened with one binding ` +
          "that has no name",
        "open it with a record of all indexes: new VectorizeClient({ " +
          `${JSON.stringify(index)}: env.NAME_OF_ITS_BINDING, ... }, ...)`,
      );
    }
    return;
  }
  const known = indexes.map((name) => `'${name}'`).join(", ");
  if (index === null) {
    throw new PreconditionError(
      `KV entry '${key}' names no index, and the store has several: ${known}`,
      "run `q2v reconcile` and `q2v migrate` for the index that has its vectors: that writes the " +
        "name into the entry. An entry without vectors can be removed",
    );
  }
  if (!indexes.includes(index)) {
    throw new PreconditionError(
      `KV entry '${key}' names the index '${index}', and the store has ${known}`,
      `put a binding of '${index}' into wrangler's file, and into the record of VectorizeClient`,
    );
  }
}

function idsIn(key: string, value: string): string[] {
  let found: unknown;
  try {
    found = JSON.parse(value);
  } catch {
    found = null;
  }
  if (!Array.isArray(found) || !found.every((id) => typeof id === "string")) {
    throw new PreconditionError(
      `KV entry '${key}' is no JSON list of vector ids: another program wrote it`,
      "find out which program wrote it; remove the entry, and write the file again",
    );
  }
  return [...new Set<string>(found)];
}

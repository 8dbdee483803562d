/** The vector indexes of a store: one, or several of which each file is in one (decision 0076). */

import { inLanes } from "../batches";
import { PreconditionError } from "../errors";
import type { FileEntries, FileEntry, FileIds } from "../files/entry";
import { CONNECTIONS, IDS_PER_GET, INDEX_NAME_BYTES } from "../limits";
import { type Naming, utf8Bytes } from "../rules";
import { OpenedIndex } from "./opened_index";
import { ranked } from "./placement";
import { upFrom } from "./repair";
import { VectorIndex, type VectorIndexRules } from "./vectors";

/** The binding of the one index; or name of each index -> its binding. */
export type VectorizeBindings = Vectorize | Readonly<Record<string, Vectorize>>;

/** How many of the ids that a call is about are asked for, to find a file without an entry. */
const CALL_IDS_MAX = IDS_PER_GET / 2;

/** The names of a record; null for a binding. Throws PreconditionError for a record that cannot be used. */
export function indexNames(given: VectorizeBindings): string[] | null {
  if (isBinding(given)) {
    return null;
  }
  const found = Object.entries(given ?? {});
  if (found.length === 0) {
    throw new PreconditionError(
      "found no Vectorize binding, expected one, or a record of index name to binding",
      "pass env.VECTORIZE_INDEX or the name of your binding, and put it into wrangler's file",
    );
  }
  for (const [name, binding] of found) {
    if (name === "" || !name.isWellFormed() || utf8Bytes(name) > INDEX_NAME_BYTES) {
      throw new PreconditionError(
        `index '${name.toWellFormed()}': expected a name of 1 to ${INDEX_NAME_BYTES} bytes`,
        "use the names of the indexes as `target.shards` lists them",
      );
    }
    if (!isBinding(binding)) {
      throw new PreconditionError(
        `index '${name}': found no Vectorize binding under this name`,
        "put a binding for it into wrangler's file, and pass the member of env that has its name",
      );
    }
  }
  return found.map(([name]) => name);
}

/** All indexes of a store. */
export class Indexes {
  readonly all: readonly OpenedIndex[];
  readonly #naming: Naming;
  readonly #byName: ReadonlyMap<string | null, OpenedIndex>;

  constructor(given: VectorizeBindings, naming: Naming, rules: VectorIndexRules) {
    const bindings: [string | null, Vectorize][] = isBinding(given)
      ? [[null, given]]
      : Object.entries(given);
    this.#naming = naming;
    this.all = bindings.map(
      ([name, binding]) => new OpenedIndex(name, new VectorIndex(binding, rules, name)),
    );
    this.#byName = new Map(this.all.map((one) => [one.name, one]));
  }

  /** The index that an entry names. */
  of({ index }: FileEntry): OpenedIndex {
    const found = this.#byName.get(index);
    if (found === undefined) {
      throw new Error(`a defect: no index '${index}' in this store`);
    }
    return found;
  }

  /**
   * The entries by their index. A file without an entry gets that of the first vectors found, in the order of the
   * hash: an invocation may have been killed before it wrote the entry, when the list of indexes was a
   * shorter one. A file of which no index shows a vector is a new one, and gets the first index of that order.
   *
   * `about` are ids that the call is about: they are asked for too.
   */
  async place(entries: FileEntries, about: FileIds): Promise<Map<OpenedIndex, FileEntries>> {
    const unplaced = [...entries].filter(([, { index }]) => index === null);
    const isOne = this.#naming.indexes === null;
    const found = isOne
      ? new Map<string, string>()
      : await this.#find(
          unplaced.map(([fileId]) => fileId),
          about,
        );
    const placed = new Map<OpenedIndex, Map<string, FileEntry>>();
    for (const [fileId, entry] of entries) {
      const whole = { ...entry, index: found.get(fileId) ?? entry.index };
      const index = this.of(whole);
      placed.set(index, (placed.get(index) ?? new Map()).set(fileId, whole));
    }
    return placed;
  }

  /** File -> the name of its index, for files without an entry. */
  async #find(fileIds: readonly string[], about: FileIds): Promise<Map<string, string>> {
    const orders = await Promise.all(
      fileIds.map(async (fileId) => ({
        fileId,
        names: await ranked(this.#naming.indexes ?? [], fileId),
      })),
    );
    const questions = orders.flatMap(({ fileId, names }) =>
      names.map((name) => ({ fileId, name })),
    );
    const shown = await inLanes(questions, CONNECTIONS, async ({ fileId, name }) => ({
      fileId,
      name,
      isThere: await this.#shows(name, fileId, about.get(fileId) ?? []),
    }));
    const found = new Map(orders.map(({ fileId, names }) => [fileId, names[0] ?? ""]));
    for (const { fileId, name, isThere } of shown.toReversed()) {
      if (isThere) {
        found.set(fileId, name);
      }
    }
    return found;
  }

  async #shows(name: string, fileId: string, about: readonly string[]): Promise<boolean> {
    const index = this.of({ ids: [], removal: null, index: name });
    const first = this.#naming.vectorIds(fileId, upFrom(0, IDS_PER_GET));
    const asked = [...new Set([...about.slice(0, CALL_IDS_MAX), ...first])].slice(0, IDS_PER_GET);
    const shown = await index.fetch(asked);
    return [...shown.keys()].some((id) => !index.wasRemoved(id));
  }
}

function isBinding(given: unknown): given is Vectorize {
  return typeof (given as Partial<Vectorize> | null | undefined)?.getByIds === "function";
}

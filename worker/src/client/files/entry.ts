/**
 * What KV holds of a file: the ids of its vectors as the value, and in the metadata the index that has them
 * (decision 0076) and the chunks whose vectors a call has begun to remove (decision 0055). Pure.
 */

import { batches } from "../batches";
import { KV_METADATA_BYTES } from "../limits";
import { utf8Bytes } from "../rules";

/** File -> ids of vectors. */
export type FileIds = ReadonlyMap<string, readonly string[]>;

/** Chunks whose vectors a call has begun to remove. Only the index knows which of them exist. */
export interface Removal {
  readonly numbers: ReadonlySet<number>;
  /** When the last of them was noted. */
  readonly sinceMs: number;
}

export interface FileEntry {
  /** In chunk order. */
  readonly ids: readonly string[];
  readonly removal: Removal | null;
  /** Name of the index that has the vectors; null in a store of one index, and for a file without an entry. */
  readonly index: string | null;
}

/** File -> its entry. */
export type FileEntries = ReadonlyMap<string, FileEntry>;

/** The entry of a file that has none. */
export const NO_ENTRY: FileEntry = { ids: [], removal: null, index: null };

/** A removal as metadata of a KV entry. */
export interface RemovalMetadata {
  /** The numbers of the chunks, ascending: `1,4,7-9`. */
  readonly removing: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** What the metadata of an entry says about where its vectors are. */
export interface Place {
  readonly namespace?: string;
  readonly index?: string;
}

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Numbers of one range, so that a damaged text does not ask the index for millions of ids. */
const RANGE_NUMBERS_MAX = 10_000;
const RANGES = /^(\d+(-\d+)?(,\d+(-\d+)?)*)?$/;

/**
 * The metadata of an entry; null for none. It fits when the numbers of the removal are those of one group of
 * `fittingNumbers`.
 */
export function metadataOf(
  removal: Removal | null,
  place: Place,
): Partial<RemovalMetadata & Place> | null {
  if (removal === null && Object.keys(place).length === 0) {
    return null;
  }
  return {
    ...place,
    ...(removal === null ? {} : { removing: textOf(removal.numbers), since: removal.sinceMs }),
  };
}

/** Where the vectors of an entry are. */
export function placeOf({ index }: FileEntry, namespace: string | undefined): Place {
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(index === null ? {} : { index }),
  };
}

/** The name of the index in metadata; null without one. */
export function indexIn(metadata: unknown): string | null {
  const { index } = (metadata ?? {}) as { readonly index?: unknown };
  return typeof index === "string" ? index : null;
}

/** The removal in metadata; null without one, and for metadata of another program. */
export function removalIn(metadata: unknown): Removal | null {
  const { removing, since } = (metadata ?? {}) as Partial<Record<keyof RemovalMetadata, unknown>>;
  if (typeof removing !== "string" || typeof since !== "number" || !RANGES.test(removing)) {
    return null;
  }
  const ranges = removing === "" ? [] : removing.split(",").map(rangeIn);
  if (!ranges.every(isPossible)) {
    return null;
  }
  return { numbers: new Set(ranges.flatMap(numbersIn)), sinceMs: since };
}

/** The removal with more numbers; these alone when the metadata has no room for both. */
export function extended(
  removal: Removal | null,
  numbers: readonly number[],
  sinceMs: number,
  place: Place,
): Removal {
  const all = new Set([...(removal?.numbers ?? []), ...numbers]);
  const fits = textOf(all).length <= textBytesMax(place);
  return { numbers: fits ? all : new Set(numbers), sinceMs };
}

/** The removal without these numbers; null when none is left. */
export function reduced(removal: Removal | null, numbers: ReadonlySet<number>): Removal | null {
  const left = [...(removal?.numbers ?? [])].filter((number) => !numbers.has(number));
  if (removal === null || left.length === removal.numbers.size) {
    return removal;
  }
  return left.length === 0 ? null : { ...removal, numbers: new Set(left) };
}

/** Numbers in groups that the metadata has room for, ascending; one group at least. */
export function fittingNumbers(numbers: Iterable<number>, place: Place): number[][] {
  const ranges = rangesOf(numbers).map((range) => ({
    ...range,
    bytesMax: rangeText(range).length + 1,
  }));
  const limits = { countMax: Number.POSITIVE_INFINITY, bytesMax: textBytesMax(place) };
  const groups = batches(ranges, limits).map((some) => some.flatMap(numbersIn));
  return groups.length > 0 ? groups : [[]];
}

/** Bytes that the numbers of a removal may take beside the rest of the metadata. */
function textBytesMax(place: Place): number {
  const rest = { ...place, removing: "", since: Number.MAX_SAFE_INTEGER };
  return KV_METADATA_BYTES - utf8Bytes(JSON.stringify(rest));
}

/** The ids of the entries and the written ones. */
export function merged(entries: FileEntries, written: FileIds): FileIds {
  return new Map(
    [...written].map(([fileId, ids]) => [
      fileId,
      [...new Set([...(entries.get(fileId)?.ids ?? []), ...ids])],
    ]),
  );
}

/** The ids that the entries name beside the written ones. */
export function others(entries: FileEntries, written: FileIds): FileIds {
  return new Map(
    [...entries].map(([fileId, { ids }]) => {
      const kept = new Set(written.get(fileId));
      return [fileId, ids.filter((id) => !kept.has(id))];
    }),
  );
}

/** Those of the ids that the entries name; files of which there are none are left out. */
export function common(entries: FileEntries, asked: FileIds): FileIds {
  const found = new Map<string, string[]>();
  for (const [fileId, ids] of asked) {
    const named = new Set(entries.get(fileId)?.ids);
    const both = ids.filter((id) => named.has(id));
    if (both.length > 0) {
      found.set(fileId, both);
    }
  }
  return found;
}

/** Those of the ids that are not among `named`. */
export function unnamed(asked: FileIds, named: FileIds): string[] {
  return [...asked].flatMap(([fileId, ids]) => {
    const found = new Set(named.get(fileId));
    return ids.filter((id) => !found.has(id));
  });
}

/** Whether both are the same, so that nothing has to be written. */
export function isSame(entry: FileEntry, former: FileEntry | undefined): boolean {
  return entry.removal === former?.removal && entry.ids.join("\n") === former.ids.join("\n");
}

function textOf(numbers: Iterable<number>): string {
  return rangesOf(numbers).map(rangeText).join(",");
}

function rangesOf(numbers: Iterable<number>): Range[] {
  const found: { first: number; last: number }[] = [];
  for (const number of [...numbers].sort((one, other) => one - other)) {
    const range = found.at(-1);
    const follows = range !== undefined && number === range.last + 1;
    if (follows && number - range.first < RANGE_NUMBERS_MAX) {
      range.last = number;
    } else {
      found.push({ first: number, last: number });
    }
  }
  return found;
}

function rangeText({ first, last }: Range): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

function rangeIn(text: string): Range {
  const [first, last = first] = text.split("-").map(Number);
  return { first: first ?? 0, last: last ?? 0 };
}

function isPossible({ first, last }: Range): boolean {
  return first <= last && last - first < RANGE_NUMBERS_MAX && Number.isSafeInteger(last);
}

function numbersIn({ first, last }: Range): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

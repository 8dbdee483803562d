/**
 * The steps of a removal, so that the next call finds what a killed one has left. Pure.
 *
 * An entry is written without the ids, and with the numbers of their chunks in its metadata; then the vectors
 * are removed. So an entry never names a vector that was removed, and no vector is forgotten (decision 0055).
 */

import type { Naming } from "../rules";
import {
  extended,
  type FileEntries,
  type FileEntry,
  type FileIds,
  fittingNumbers,
  placeOf,
} from "./entry";

/** Entries to write, then vectors to remove. */
export interface RemovalStep {
  readonly entries: FileEntries;
  readonly vectorIds: readonly string[];
}

interface FileStep {
  readonly entry: FileEntry;
  readonly vectorIds: readonly string[];
}

/**
 * Write `entries` and remove `removed`, which they name. `more` are ids that no entry names.
 *
 * One step as a rule. A file that is empty afterwards has a second one, which removes its key; a file whose
 * numbers need more metadata than KV has room for, one for each further kilobyte.
 */
export function removalSteps(
  naming: Naming,
  entries: FileEntries,
  removed: FileIds,
  more: readonly string[],
  nowMs: number,
): RemovalStep[] {
  const ofFiles = [...entries].map(
    ([fileId, entry]) =>
      [fileId, fileSteps(naming, entry, removed.get(fileId) ?? [], nowMs)] as const,
  );
  const count = Math.max(1, ...ofFiles.map(([, steps]) => steps.length));
  return Array.from({ length: count }, (_, at) => {
    const some = ofFiles.flatMap(([fileId, steps]) => {
      const step = steps[at];
      return step === undefined ? [] : [{ fileId, ...step }];
    });
    return {
      entries: new Map(some.map(({ fileId, entry }) => [fileId, entry])),
      vectorIds: [...some.flatMap(({ vectorIds }) => vectorIds), ...(at === 0 ? more : [])],
    };
  });
}

/** The ids of a file of which only the index knows whether they exist. */
export function idsInDoubt(naming: Naming, fileId: string, { ids, removal }: FileEntry): string[] {
  if (removal === null) {
    return [];
  }
  const unnumbered = ids.filter((id) => naming.parse(id) === null);
  return [...naming.vectorIds(fileId, removal.numbers), ...unnumbered];
}

function fileSteps(
  naming: Naming,
  former: FileEntry,
  removed: readonly string[],
  nowMs: number,
): FileStep[] {
  if (removed.length === 0) {
    return [{ entry: former, vectorIds: [] }];
  }
  const numbered = new Map<number, string>();
  // An id in a form of another program has no number: the entry names it until its vector is removed.
  const unnumbered: string[] = [];
  for (const id of removed) {
    const chunk = naming.parse(id);
    if (chunk === null) {
      unnumbered.push(id);
    } else {
      numbered.set(chunk.chunkIndex, id);
    }
  }
  const steps: FileStep[] = [];
  let entry = former;
  let besides: readonly string[] = unnumbered;
  const { index } = former;
  const place = placeOf(former, naming.rules.namespace);
  for (const numbers of fittingNumbers(numbered.keys(), place)) {
    const vectorIds = numbers.flatMap((number) => numbered.get(number) ?? []);
    entry = {
      ids: difference(entry.ids, vectorIds),
      removal: extended(entry.removal, numbers, nowMs, place),
      index,
    };
    steps.push({ entry, vectorIds: [...vectorIds, ...besides] });
    besides = [];
  }
  const left = difference(entry.ids, unnumbered);
  if (left.length === 0) {
    steps.push({ entry: { ids: left, removal: null, index }, vectorIds: [] });
  } else if (unnumbered.length > 0) {
    steps.push({ entry: { ids: left, removal: entry.removal, index }, vectorIds: [] });
  }
  return steps;
}

function difference(ids: readonly string[], removed: readonly string[]): string[] {
  const gone = new Set(removed);
  return ids.filter((id) => !gone.has(id));
}

/**
 * Find the vectors of a file that its entry lacks: the index is asked, by chunk number.
 *
 * They were written by an invocation that was killed before it wrote the entry, or that raced with
 * another one (decision 0048); or one was killed that had begun to remove them (decision 0055).
 */

import { IDS_PER_DELETE, IDS_PER_GET } from "../limits";
import type { Naming } from "../rules";
import type { OpenedIndex } from "./opened_index";

/** How many of the numbers below the highest that an entry lacks are asked for, the lowest first. */
export const GAPS_MAX = 200;

/** The ids of a file that the index shows now beside the known ones: those in doubt, and others. */
export async function findUnlisted(
  index: OpenedIndex,
  naming: Naming,
  fileId: string,
  known: ReadonlySet<string>,
  inDoubt: readonly string[],
): Promise<string[]> {
  const numbers = numbersOf(naming, known);
  const found = new Set<string>();
  let first = highest(numbers) + 1;
  let above = naming.vectorIds(fileId, upFrom(first, IDS_PER_GET));
  let asked = [...inDoubt, ...naming.vectorIds(fileId, gaps(numbers)), ...above];
  while (asked.length > 0) {
    const seen = await index.fetch(asked);
    for (const id of seen.keys()) {
      found.add(id);
    }
    const goesOn = above.some((id) => seen.has(id));
    first += IDS_PER_GET;
    above = goesOn ? naming.vectorIds(fileId, upFrom(first, IDS_PER_GET)) : [];
    asked = above;
  }
  return [...found];
}

/**
 * The ids that may follow those of a file: as many as its last request of a deletion has room for.
 *
 * They cost no request, and what was accepted and is not visible yet is removed too.
 */
export function idsThatMayFollow(naming: Naming, fileId: string, ids: readonly string[]): string[] {
  const numbers = numbersOf(naming, ids);
  const used = ids.length % IDS_PER_DELETE;
  const free = used === 0 && ids.length > 0 ? 0 : IDS_PER_DELETE - used;
  const candidates = [...gaps(numbers), ...upFrom(highest(numbers) + 1, free)];
  return naming.vectorIds(fileId, candidates.slice(0, free));
}

function numbersOf(naming: Naming, ids: Iterable<string>): Set<number> {
  const found = new Set<number>();
  for (const id of ids) {
    const chunk = naming.parse(id);
    if (chunk !== null) {
      found.add(chunk.chunkIndex);
    }
  }
  return found;
}

function highest(numbers: ReadonlySet<number>): number {
  let found = -1;
  for (const number of numbers) {
    found = Math.max(found, number);
  }
  return found;
}

function gaps(numbers: ReadonlySet<number>): number[] {
  const end = highest(numbers);
  const found: number[] = [];
  for (let number = 0; number < end && found.length < GAPS_MAX; number += 1) {
    if (!numbers.has(number)) {
      found.push(number);
    }
  }
  return found;
}

/** Numbers one after the other. */
export function upFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

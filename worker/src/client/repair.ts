/**
 * Find the vectors of a file that its entry lacks: the index is asked, by chunk number.
 *
 * They were written by an invocation that was killed before it wrote the entry, or that raced with
 * another one (decision 0048).
 */

import { IDS_PER_DELETE, IDS_PER_GET } from "./limits";
import type { Naming } from "./rules";
import type { VectorIndex } from "./vectors";

/** Of the numbers below the highest that an entry lacks, so many are asked for, the lowest first. */
export const GAPS_MAX = 200;

/** The ids of a file that exist beside the known ones, as the index shows them now. */
export async function findUnlisted(
  index: VectorIndex,
  naming: Naming,
  fileId: string,
  known: ReadonlySet<string>,
): Promise<string[]> {
  const numbers = numbersOf(naming, known);
  const found: string[] = [];
  let first = highest(numbers) + 1;
  let asked = [...gaps(numbers), ...upFrom(first, IDS_PER_GET)];
  while (asked.length > 0) {
    const seen = await index.fetch(naming.vectorIds(fileId, asked));
    found.push(...seen.keys());
    const above = naming.vectorIds(fileId, upFrom(first, IDS_PER_GET));
    first += IDS_PER_GET;
    asked = above.some((id) => seen.has(id)) ? upFrom(first, IDS_PER_GET) : [];
  }
  return found;
}

/**
 * Fill the last request of a deletion with the ids that may follow.
 *
 * It costs no request, and removes what was accepted and is not visible yet.
 */
export function fillDeletion(naming: Naming, fileId: string, ids: readonly string[]): string[] {
  const numbers = numbersOf(naming, ids);
  const used = ids.length % IDS_PER_DELETE;
  const free = used === 0 && ids.length > 0 ? 0 : IDS_PER_DELETE - used;
  const candidates = [...gaps(numbers), ...upFrom(highest(numbers) + 1, free)];
  return [...ids, ...naming.vectorIds(fileId, candidates.slice(0, free))];
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

function upFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

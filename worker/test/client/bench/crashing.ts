/** Calls that are killed between two subrequests, and what has to hold afterwards. */

import { expect } from "vitest";
import type { Subrequest } from "../../../kit/shim";
import type { Bench, Held, Shown, Store } from "./bench";
import { byFile, type Chunk, chunk, chunks } from "./cases";
import { RUNS_ALL } from "./tier";

export type Call = readonly [method: string, ...args: unknown[]];

export const WHOLE = { wholeFiles: true };
const SMALL_BODIES = { bodyBytesMax: 5_000 }; // three or four vectors

/** A call that is killed, what the store held before it, and what it holds after it. */
export interface Scenario {
  readonly name: string;
  readonly before: readonly Chunk[];
  readonly call: Call;
  readonly after: readonly Chunk[];
}

export function filesOf({ before, after }: Scenario): readonly string[] {
  return [...byFile([...before, ...after]).keys()];
}

/** Two groups of chunks, further apart than a search without the entry goes. */
const SPARSE = [...chunks("a", 2), ...chunks("a", 100, 500)];
/** Chunks of which the numbers do not fit into the metadata of a KV entry. */
const SCATTERED = Array.from({ length: 75 }, (_, at) => chunk("a", (at + 1) * 100_000_000_000));

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "an upsert of a new file",
    before: [],
    call: ["upsertVectors", chunks("a", 5)],
    after: chunks("a", 5),
  },
  {
    name: "an upsert that replaces and adds chunks",
    before: chunks("a", 5),
    call: ["upsertVectors", chunks("a", 4, 3, 2)],
    after: [...chunks("a", 3), ...chunks("a", 4, 3, 2)],
  },
  {
    name: "an upsert in three requests",
    before: [],
    call: ["upsertVectors", chunks("a", 9)],
    after: chunks("a", 9),
  },
  {
    name: "an upsert of two files",
    before: [],
    call: ["upsertVectors", [...chunks("a", 2), ...chunks("b", 2)]],
    after: [...chunks("a", 2), ...chunks("b", 2)],
  },
  {
    name: "an upsert of a file that became shorter",
    before: chunks("a", 25),
    call: ["upsertVectors", chunks("a", 3, 0, 2), WHOLE],
    after: chunks("a", 3, 0, 2),
  },
  {
    name: "a deletion of ids",
    before: chunks("a", 5),
    call: ["deleteVectorsByIds", ["a_1", "a_4"]],
    after: [chunk("a", 0), chunk("a", 2), chunk("a", 3)],
  },
  {
    name: "a deletion of ids of two files, of one all",
    before: [...chunks("a", 3), ...chunks("b", 2)],
    call: ["deleteVectorsByIds", ["a_1", "b_0", "b_1", "a_7"]],
    after: [chunk("a", 0), chunk("a", 2)],
  },
  {
    name: "a deletion of ids far apart, in two steps",
    before: [chunk("a", 0), ...SCATTERED],
    call: ["deleteVectorsByIds", SCATTERED.map(({ id }) => id)],
    after: [chunk("a", 0)],
  },
  {
    name: "a deletion of a file in two requests",
    before: chunks("a", 101),
    call: ["deleteVectorsByFileId", "a"],
    after: [],
  },
  {
    name: "a deletion of a file with a wide gap",
    before: SPARSE,
    call: ["deleteVectorsByFileId", "a"],
    after: [],
  },
];

/** The next calls that write the files, whatever they are; none of them completes the killed call. */
export const NEXT: readonly (readonly [name: string, calls: (fileId: string) => Call])[] = [
  ["an upsert of a chunk", (fileId) => ["upsertVectors", [chunk(fileId, 0, 3)]]],
  ["an upsert of a chunk that follows", (fileId) => ["upsertVectors", [chunk(fileId, 30, 3)]]],
  ["an upsert of the whole file", (fileId) => ["upsertVectors", chunks(fileId, 2, 0, 3), WHOLE]],
  ["a deletion of a chunk", (fileId) => ["deleteVectorsByIds", [`${fileId}_2`]]],
  ["a deletion of a chunk that is not there", (fileId) => ["deleteVectorsByIds", [`${fileId}_77`]]],
];

/**
 * What follows a kill, as tests of a scenario: the calls of each kind at every point, or else one test in
 * which the kinds take turns, from another one on in the next scenario.
 */
export function healing(
  scenario: Scenario,
): readonly (readonly [name: string, callsAt: (point: number) => (fileId: string) => Call])[] {
  if (RUNS_ALL) {
    return NEXT.map(([name, calls]) => [name, () => calls]);
  }
  const first = SCENARIOS.indexOf(scenario);
  const inTurn = (point: number) => NEXT[(first + point) % NEXT.length]?.[1] ?? noCall;
  return [["a call, of each kind in turn,", inTurn]];
}

function noCall(): never {
  throw new Error("there is a call for each number");
}

/** Index, entries and counter agree, and the index holds these vectors. */
export async function checkExact(store: Store, expected: readonly Chunk[]): Promise<void> {
  const files = byFile(expected);
  const shown = await store.shown();
  expect(shown.held).toEqual({
    ids: expected.map(({ id }) => id).sort(),
    entries: Object.fromEntries(
      [...files].map(([fileId, wanted]) => [`file:${fileId}`, wanted.map(({ id }) => id)]),
    ),
    counter: expected.length,
    expirations: {},
  });
  for (const [fileId, wanted] of files) {
    expect(await store.call("getVectorsByFileId", fileId)).toEqual(wanted);
  }
  checkPlaces(store, shown);
}

/** Where there are several indexes: each has the vectors of the files whose entries name it, and its counter. */
function checkPlaces(store: Store, { metadata, parts }: Shown): void {
  if (!store.isNamed) {
    return;
  }
  for (const [index, { ids, counter }] of Object.entries(parts)) {
    for (const id of ids) {
      expect(metadata[`file:${fileOf(id)}`]).toMatchObject({ index });
    }
    expect([index, counter ?? 0]).toEqual([index, ids.length]);
  }
}

function fileOf(id: string): string {
  return id.slice(0, id.lastIndexOf("_"));
}

/** The entries name the vectors that are there, each under its file's key; the counter is right. */
export async function checkConsistent(store: Store): Promise<void> {
  const shown = await store.shown();
  const { ids, entries, counter } = shown.held;
  const byKey = Map.groupBy(ids, (id) => `file:${fileOf(id)}`);
  const named = Object.entries(entries).map(([key, some]) => [key, (some as string[]).toSorted()]);
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(byKey));
  expect(counter).toBe(ids.length);
  checkPlaces(store, shown);
}

/** Every vector of the file is in its entry, and the counter is right. */
export async function checkNoOrphan(store: Store): Promise<void> {
  const { ids, entries, counter } = await store.held();
  const listed = Object.values(entries).flat();
  expect(ids.filter((id) => !listed.includes(id))).toEqual([]);
  expect(counter).toBe(ids.length);
}

/** A reader gets no error, and no entry names a vector that is not there, in the index that it names. */
export async function checkReader(
  store: Store,
  { fileIds = ["a"], shown }: { fileIds?: readonly string[]; shown?: Shown } = {},
): Promise<void> {
  const { held, metadata, parts } = shown ?? (await store.shown());
  const { ids, entries } = held;
  const named = Object.values(entries).flat();
  expect(named.filter((id) => !ids.includes(id as string))).toEqual([]);
  if (store.isNamed) {
    for (const [key, some] of Object.entries(entries)) {
      const { index } = metadata[key] as { index: string };
      expect(parts[index]?.ids).toEqual(expect.arrayContaining(some as string[]));
    }
  }
  for (const fileId of fileIds) {
    const read = (await store.call("getVectorsByFileId", fileId)) as Chunk[];
    expect(read.map(({ id }) => id)).toEqual(entries[`file:${fileId}`] ?? []);
  }
}

/** Where a scenario runs. */
export interface Where {
  readonly bench: Bench;
  /** 0: one, whose binding is given alone. */
  readonly indexes: number;
}

/** A new store that holds what the scenario begins with. */
export async function storeOf({ bench, indexes }: Where, { before }: Scenario): Promise<Store> {
  const store = await bench.store(SMALL_BODIES, indexes);
  if (before.length > 0) {
    await store.fill(before);
  }
  return store;
}

const READS: ReadonlySet<string> = new Set(["bulk", "getByIds", "info"]);

/**
 * Kill the call at the start and after each of its subrequests, then do `next`. A kill after a read leaves what
 * the kill before it has left: that is compared, and `next` not repeated. Of reads in a row that are alike a part
 * of the tests skips every second one. The number of subrequests.
 */
export async function sweep(
  where: Where,
  scenario: Scenario,
  next: (store: Store, shown: Shown) => Promise<void>,
): Promise<number> {
  let before: { readonly made: readonly Subrequest[]; readonly held: Held } | undefined;
  for (let after = 0; ; after += 1) {
    const store = await storeOf(where, scenario);
    const killed = await store.killAfter(after, scenario.call);
    const shown = await store.shown();
    const made = killed?.made ?? [];
    if (before !== undefined && onlyReads(before.made, made)) {
      expect(shown.held).toEqual(before.held);
    } else {
      await next(store, shown);
    }
    if (killed === null) {
      return after;
    }
    before = { made, held: shown.held };
    const isAlike = made.at(-1)?.operation === killed.next?.operation && isRead(killed.next);
    after += !RUNS_ALL && isAlike ? 1 : 0;
  }
}

/** Whether the second are the first and then reads. Not where files of another store are in other indexes. */
function onlyReads(first: readonly Subrequest[], second: readonly Subrequest[]): boolean {
  const [some, others] = [second.slice(0, first.length), second.slice(first.length)];
  return others.length > 0 && others.every(isRead) && textOf(some) === textOf(first);
}

function isRead(made: Subrequest | undefined): boolean {
  return READS.has(made?.operation ?? "");
}

function textOf(made: readonly Subrequest[]): string {
  return JSON.stringify(made.map(({ binding, operation, key }) => [binding, operation, key]));
}

/** Kill the call at the start and after each subrequest that changes something, then do `next`. */
export async function sweepWrites(
  where: Where,
  scenario: Scenario,
  next: (store: Store, point: number) => Promise<void>,
): Promise<void> {
  const undisturbed = await storeOf(where, scenario);
  await undisturbed.inOneInvocation([scenario.call]);
  const seen = await undisturbed.seen();
  const points = [0, ...seen.flatMap((one, at) => (isRead(one) ? [] : at + 1))];
  for (const [point, after] of points.entries()) {
    const store = await storeOf(where, scenario);
    await store.killAfter(after, scenario.call);
    await next(store, point);
  }
}

/**
 * Lose the answer of each subrequest of the call, and check that it ends as undisturbed. Of reads in a row that
 * are alike a part of the tests loses that of the first.
 */
export async function loseEach(where: Where, scenario: Scenario): Promise<void> {
  let seen: readonly Subrequest[] = [];
  for (let after = 0; after <= seen.length; after += 1) {
    const isAlike = seen[after]?.operation === seen[after - 1]?.operation && isRead(seen[after]);
    if (!RUNS_ALL && isAlike) {
      continue;
    }
    const store = await storeOf(where, scenario);
    await store.order({ cut: "lose", after });
    await store.inOneInvocation([scenario.call]);
    seen = await store.seen();
    await store.order({});
    await checkExact(store, scenario.after);
  }
}

/** Numbers from 0 to `end` - 1 that only depend on the seed. */
export function numbersFrom(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
}

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bench, type Store } from "./bench";
import { byFile, type Chunk, chunk, chunks } from "./cases";

type Call = readonly [method: string, ...args: unknown[]];

let bench: Bench;

beforeAll(async () => {
  bench = await Bench.start();
});

afterAll(() => bench?.stop());

const WHOLE = { wholeFiles: true };
const SMALL_BODIES = { bodyBytesMax: 5_000 }; // three or four vectors

/** A call that is killed, what the store held before it, and what it holds after it. */
interface Scenario {
  readonly name: string;
  readonly before: readonly Chunk[];
  readonly call: Call;
  readonly after: readonly Chunk[];
}

function filesOf({ before, after }: Scenario): readonly string[] {
  return [...byFile([...before, ...after]).keys()];
}

/** Two groups of chunks, further apart than a search without the entry goes. */
const SPARSE = [...chunks("a", 2), ...chunks("a", 100, 500)];
/** Chunks of which the numbers do not fit into the metadata of a KV entry. */
const SCATTERED = Array.from({ length: 75 }, (_, at) => chunk("a", (at + 1) * 100_000_000_000));

const SCENARIOS: readonly Scenario[] = [
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
const NEXT: readonly (readonly [name: string, calls: (fileId: string) => Call])[] = [
  ["an upsert of a chunk", (fileId) => ["upsertVectors", [chunk(fileId, 0, 3)]]],
  ["an upsert of a chunk that follows", (fileId) => ["upsertVectors", [chunk(fileId, 30, 3)]]],
  ["an upsert of the whole file", (fileId) => ["upsertVectors", chunks(fileId, 2, 0, 3), WHOLE]],
  ["a deletion of a chunk", (fileId) => ["deleteVectorsByIds", [`${fileId}_2`]]],
  ["a deletion of a chunk that is not there", (fileId) => ["deleteVectorsByIds", [`${fileId}_77`]]],
];

/** Index, entries and counter agree, and the index holds these vectors. */
async function checkExact(store: Store, expected: readonly Chunk[]): Promise<void> {
  const files = byFile(expected);
  expect(await store.held()).toEqual({
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
}

/** The entries name the vectors that are there, each under its file's key; the counter is right. */
async function checkConsistent(store: Store): Promise<void> {
  const { ids, entries, counter } = await store.held();
  const byKey = Map.groupBy(ids, (id) => `file:${id.slice(0, id.lastIndexOf("_"))}`);
  const named = Object.entries(entries).map(([key, some]) => [key, (some as string[]).toSorted()]);
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(byKey));
  expect(counter).toBe(ids.length);
}

/** Every vector of the file is in its entry, and the counter is right. */
async function checkNoOrphan(store: Store): Promise<void> {
  const { ids, entries, counter } = await store.held();
  const listed = Object.values(entries).flat();
  expect(ids.filter((id) => !listed.includes(id))).toEqual([]);
  expect(counter).toBe(ids.length);
}

/** A reader gets no error, and no entry names a vector that is not there. */
async function checkReader(store: Store): Promise<void> {
  const { ids, entries } = await store.held();
  const named = Object.values(entries).flat();
  expect(named.filter((id) => !ids.includes(id as string))).toEqual([]);
  const read = (await store.call("getVectorsByFileId", "a")) as Chunk[];
  expect(read.map(({ id }) => id)).toEqual(entries["file:a"] ?? []);
}

/** A new store that holds what the scenario begins with. */
async function storeOf({ before }: Scenario): Promise<Store> {
  const store = await bench.store(SMALL_BODIES);
  if (before.length > 0) {
    await store.with({ bodyBytesMax: 1_000_000 }).call("upsertVectors", before);
  }
  await store.order({});
  return store;
}

/** Kill the call when it has made `after` subrequests, then do `next`. False: it made no more. */
async function killThen(
  scenario: Scenario,
  after: number,
  next: (store: Store) => Promise<void>,
): Promise<boolean> {
  const store = await storeOf(scenario);
  const wasKilled = await store.killAfter(after, scenario.call);
  await next(store);
  return wasKilled;
}

const READS: ReadonlySet<string> = new Set(["bulk", "getByIds", "info"]);

/** Kill the call at the start and after each subrequest that changes something, then do `next`. */
async function sweepWrites(
  scenario: Scenario,
  next: (store: Store) => Promise<void>,
): Promise<void> {
  const store = await storeOf(scenario);
  await store.inOneInvocation([scenario.call]);
  const seen = await store.seen();
  const points = [0, ...seen.flatMap(({ operation }, at) => (READS.has(operation) ? [] : at + 1))];
  for (const after of points) {
    await killThen(scenario, after, next);
  }
}

describe.each(SCENARIOS)("$name, killed between any two subrequests", (scenario) => {
  test("the same call again completes it", async () => {
    let subrequests = 0;
    const next = async (store: Store): Promise<void> => {
      await checkReader(store);
      await store.inOneInvocation([scenario.call]);
      await checkExact(store, scenario.after);
    };
    while (await killThen(scenario, subrequests, next)) {
      subrequests += 1;
    }
    expect(subrequests).toBeGreaterThanOrEqual(6);
  });

  test("a deletion of the files leaves no vector, no key and the right counter", async () => {
    await sweepWrites(scenario, async (store) => {
      for (const fileId of filesOf(scenario)) {
        await store.call("deleteVectorsByFileId", fileId);
      }
      await checkExact(store, []);
    });
  });

  test.each(NEXT)("%s heals it", async (_, next) => {
    await sweepWrites(scenario, async (store) => {
      for (const fileId of filesOf(scenario)) {
        await store.inOneInvocation([next(fileId)]);
      }
      await checkConsistent(store);
    });
  });
});

/** What is known of a chunk after calls of which some were killed. */
type Fate = "there" | "gone" | "either";

/** Numbers from 0 to `end` - 1 that only depend on the seed. */
function numbersFrom(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
}

/** A call on file `a`, and what becomes of its chunks when it is completed. */
function anyCall(draw: (end: number) => number): [Call, Map<number, "there" | "gone">] {
  const numbers = [...new Set(Array.from({ length: 1 + draw(6) }, () => draw(45)))];
  const fates = (fate: "there" | "gone", all: readonly number[]) =>
    all.map((number) => [number, fate] as const);
  const every = Array.from({ length: 45 }, (_, number) => number);
  const written = numbers.map((number) => chunk("a", number, 1 + draw(9)));
  switch (draw(4)) {
    case 0:
      return [["upsertVectors", written], new Map(fates("there", numbers))];
    case 1:
      return [
        ["upsertVectors", written, WHOLE],
        new Map([...fates("gone", every), ...fates("there", numbers)]),
      ];
    case 2:
      return [
        ["deleteVectorsByIds", numbers.map((number) => `a_${number}`)],
        new Map(fates("gone", numbers)),
      ];
    default:
      return [["deleteVectorsByFileId", "a"], new Map(fates("gone", every))];
  }
}

test.each(Array.from({ length: 20 }, (_, seed) => seed))(
  "calls of which most are killed, those that heal too: seed %i",
  async (seed) => {
    const draw = numbersFrom(seed + 1);
    const store = await bench.store();
    await store.call("upsertVectors", chunks("a", 30));
    const fates = new Map<number, Fate>(chunks("a", 30).map((_, number) => [number, "there"]));
    for (let round = 0; round < 6; round += 1) {
      const [call, completed] = anyCall(draw);
      const wasKilled = await store.killAfter(draw(9), call);
      for (const [number, fate] of completed) {
        const isAsBefore = (fates.get(number) ?? "gone") === fate;
        fates.set(number, wasKilled && !isAsBefore ? "either" : fate);
      }
      await checkReader(store);
    }
    await store.call("upsertVectors", [chunk("a", 44, 3)]);

    await checkConsistent(store);
    const { ids } = await store.held();
    for (const [number, fate] of fates.set(44, "there")) {
      const isThere = ids.includes(`a_${number}`);
      expect([number, isThere]).toEqual([number, fate === "either" ? isThere : fate === "there"]);
    }
  },
);

test.each(SCENARIOS)("$name, with one answer lost, ends as undisturbed", async (scenario) => {
  let subrequests = 0;
  for (let after = 0; after <= subrequests; after += 1) {
    const store = await storeOf(scenario);
    await store.order({ cut: "lose", after });
    await store.inOneInvocation([scenario.call]);
    subrequests = (await store.seen()).length;
    await store.order({});
    await checkExact(store, scenario.after);
  }
});

test("used up subrequests are an error that says so, and the same call completes", async () => {
  const [scenario] = SCENARIOS;
  const store = await bench.store();
  await store.order({ cut: "refuse", after: 2 });

  const call = store.inOneInvocation([scenario?.call ?? ["none"]]);
  await expect(call).rejects.toMatchObject({
    kind: "RemoteUnavailableError",
    remedy: expect.stringContaining("limits.subrequests"),
  });

  await store.order({});
  await store.inOneInvocation([scenario?.call ?? ["none"]]);
  await checkExact(store, chunks("a", 5));
});

describe("two upserts of one file at once", () => {
  /** The first waits after `after` subrequests while the second runs; false: it made no more. */
  async function race(store: Store, first: Call, second: Call, after: number): Promise<boolean> {
    await store.order({ cut: "pause", after });
    let ended = false;
    const running = store.inOneInvocation([first]).finally(() => {
      ended = true;
    });
    while (!ended && !(await store.isHolding())) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const wasHeld = !ended;
    if (!wasHeld) {
      await store.order({}); // or else the second would be held
    }
    await store.inOneInvocation([second]);
    await store.order({});
    await running;
    return wasHeld;
  }

  test.each([
    ["of different chunks", chunks("a", 5), chunks("a", 5, 5)],
    ["of overlapping chunks", chunks("a", 5), chunks("a", 5, 3, 2)],
    ["with a gap between them", chunks("a", 2), chunks("a", 2, 15)],
  ])("%s: the next call names all vectors", async (_, first, second) => {
    const ids = [...new Set([...first, ...second].map(({ id }) => id))];
    for (let after = 0, more = true; more; after += 1) {
      const store = await bench.store();
      more = await race(store, ["upsertVectors", first], ["upsertVectors", second], after);
      await store.call("upsertVectors", [chunk("a", 0, 3)]);
      const held = await store.held();
      expect(held.ids).toEqual(ids.toSorted());
      expect(held.entries).toEqual({ "file:a": ids });
      expect(held.counter).toBe(ids.length);
    }
  });

  test("of whole files: no vector is left out, and the next whole file is exact", async () => {
    for (let after = 0, more = true; more; after += 1) {
      const store = await bench.store();
      const first: Call = ["upsertVectors", chunks("a", 10), WHOLE];
      more = await race(store, first, ["upsertVectors", chunks("a", 3, 0, 2), WHOLE], after);
      await store.call("upsertVectors", [chunk("a", 0, 3)]);
      await checkNoOrphan(store);
      await store.call("upsertVectors", chunks("a", 4, 0, 4), WHOLE);
      await checkExact(store, chunks("a", 4, 0, 4));
    }
  });

  test("an upsert and a deletion of the file: the next deletion leaves nothing", async () => {
    for (let after = 0, more = true; more; after += 1) {
      const store = await bench.store();
      const first: Call = ["upsertVectors", chunks("a", 10)];
      more = await race(store, first, ["deleteVectorsByFileId", "a"], after);
      await store.call("deleteVectorsByFileId", "a");
      await checkExact(store, []);
    }
  });
});

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
  /** It removes vectors, so an entry may name removed ones until the file is written as a whole. */
  readonly removes: boolean;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: "an upsert of a new file",
    before: [],
    call: ["upsertVectors", chunks("a", 5)],
    after: chunks("a", 5),
    removes: false,
  },
  {
    name: "an upsert that replaces and adds chunks",
    before: chunks("a", 5),
    call: ["upsertVectors", chunks("a", 4, 3, 2)],
    after: [...chunks("a", 3), ...chunks("a", 4, 3, 2)],
    removes: false,
  },
  {
    name: "an upsert in three requests",
    before: [],
    call: ["upsertVectors", chunks("a", 9)],
    after: chunks("a", 9),
    removes: false,
  },
  {
    name: "an upsert of two files",
    before: [],
    call: ["upsertVectors", [...chunks("a", 2), ...chunks("b", 2)]],
    after: [...chunks("a", 2), ...chunks("b", 2)],
    removes: false,
  },
  {
    name: "an upsert of a file that became shorter",
    before: chunks("a", 25),
    call: ["upsertVectors", chunks("a", 3, 0, 2), WHOLE],
    after: chunks("a", 3, 0, 2),
    removes: true,
  },
  {
    name: "a deletion of ids",
    before: chunks("a", 5),
    call: ["deleteVectorsByIds", ["a_1", "a_4"]],
    after: [chunk("a", 0), chunk("a", 2), chunk("a", 3)],
    removes: true,
  },
  {
    name: "a deletion of a file in two requests",
    before: chunks("a", 101),
    call: ["deleteVectorsByFileId", "a"],
    after: [],
    removes: true,
  },
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

/** Every vector of the file is in its entry, and the counter is right. */
async function checkNoOrphan(store: Store): Promise<readonly string[]> {
  const { ids, entries, counter } = await store.held();
  const listed = Object.values(entries).flat();
  expect(ids.filter((id) => !listed.includes(id))).toEqual([]);
  expect(counter).toBe(ids.length);
  return ids;
}

/** A reader gets no error, and no vector that was not accepted. */
async function checkReader(store: Store): Promise<void> {
  const { ids } = await store.held();
  const read = (await store.call("getVectorsByFileId", "a")) as Chunk[];
  expect(read.filter(({ id }) => !ids.includes(id))).toEqual([]);
}

/** Kill the call after each number of its subrequests, then do `next`; how many numbers there were. */
async function sweep(
  { before, call }: Scenario,
  next: (store: Store) => Promise<void>,
): Promise<number> {
  for (let after = 0; ; after += 1) {
    const store = await bench.store(SMALL_BODIES);
    if (before.length > 0) {
      await store.call("upsertVectors", before);
    }
    const wasKilled = await store.killAfter(after, call);
    await checkReader(store);
    await next(store);
    if (!wasKilled) {
      return after;
    }
  }
}

describe.each(SCENARIOS)("$name, killed between any two subrequests", (scenario) => {
  test("the same call again completes it", async () => {
    const subrequests = await sweep(scenario, async (store) => {
      await store.inOneInvocation([scenario.call]);
      await checkExact(store, scenario.after);
    });
    expect(subrequests).toBeGreaterThanOrEqual(6);
  });

  test("a deletion of the file leaves no vector of it, no key and the right counter", async () => {
    await sweep(scenario, async (store) => {
      await store.call("deleteVectorsByFileId", "a");
      const { ids, entries, counter } = await store.held();
      expect(ids.filter((id) => id.startsWith("a_"))).toEqual([]);
      expect(entries).not.toHaveProperty("file:a");
      expect(counter).toBe(ids.length);
    });
  });

  test("another upsert of the file heals it", async () => {
    await sweep(scenario, async (store) => {
      const files = new Set(scenario.after.map(({ metadata: { file_id } }) => file_id as string));
      await store.call(
        "upsertVectors",
        Array.from(files.add("a"), (fileId) => chunk(fileId, 0, 3)),
      );
      const ids = await checkNoOrphan(store);
      if (scenario.removes) {
        await store.call("upsertVectors", chunks("a", 2, 0, 4), WHOLE);
        await checkExact(store, chunks("a", 2, 0, 4));
      } else {
        const listed = Object.values((await store.held()).entries).flat();
        expect(listed.toSorted()).toEqual(ids);
      }
    });
  });
});

test.each(SCENARIOS)("$name, with one answer lost, ends as undisturbed", async (scenario) => {
  let subrequests = 0;
  for (let after = 0; after <= subrequests; after += 1) {
    const store = await bench.store(SMALL_BODIES);
    if (scenario.before.length > 0) {
      await store.call("upsertVectors", scenario.before);
    }
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

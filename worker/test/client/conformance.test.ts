import { afterAll, beforeAll, expect, test } from "vitest";
import { Bench, type Store } from "./bench/bench";
import {
  byFile,
  CASES,
  type Case,
  callOf,
  chunk,
  chunks,
  ofRanges,
  refusedChunk,
} from "./bench/cases";

let bench: Bench;

beforeAll(async () => {
  bench = await Bench.start();
});

afterAll(() => bench?.stop());

async function check(store: Store, expected: ReturnType<typeof ofRanges>): Promise<void> {
  const files = byFile(expected);
  for (const [fileId, wanted] of files) {
    expect(await store.call("getVectorsByFileId", fileId)).toEqual(wanted);
  }
  expect(await store.call("getVectorsByFileId", "unknown")).toEqual([]);
  const { dimensions, metric } = CASES.rules;
  const info = { dimensions, metric, vectors: expected.length };
  expect(await store.call("getCollectionInfo")).toMatchObject(info);
  expect(await store.call("countVectors")).toBe(expected.length);
  expect(await store.held()).toEqual({
    ids: expected.map(({ id }) => id).sort(),
    entries: Object.fromEntries(
      [...files].map(([fileId, wanted]) => [`file:${fileId}`, wanted.map(({ id }) => id)]),
    ),
    counter: expected.length,
    expirations: {},
  });
}

test("the runner knows the format of the cases", () => {
  expect(CASES.format).toBe(1);
});

const RUNS = CASES.cases.flatMap((one) => [
  { ...one, over: "one index", indexes: 0 },
  { ...one, over: "three indexes", indexes: 3 },
]);

test.each(RUNS)("$name, over $over", async ({ steps, indexes }: Case & { indexes: number }) => {
  const store = await bench.store({}, indexes);
  await store.call("initializeCollection");
  for (const step of steps) {
    const done = store.inOneInvocation([callOf(step)]);
    if (step.refused === true) {
      await expect(done).rejects.toMatchObject({ kind: "UsageError" });
    } else {
      await done;
    }
    await check(store, ofRanges(step.then));
  }
});

test("a vector that cannot be stored is named, and nothing is sent", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 2));
  const notFinite = { ...chunk("a", 0), values: [null, ...chunk("a", 0).values.slice(1)] };

  for (const bad of [...CASES.refused.map(refusedChunk), notFinite]) {
    await store.order({});
    const call = store.call("upsertVectors", [chunk("a", 1, 2), chunk("new", 0), bad]);
    await expect(call).rejects.toMatchObject({
      kind: "UsageError",
      message: expect.stringContaining(`vector '${bad.id}': `),
      remedy: expect.stringContaining("nothing was sent"),
    });
    expect(await store.seen()).toEqual([]);
  }
  await check(store, chunks("a", 2));
});

test("the number of values found and expected is said", async () => {
  const store = await bench.store();

  await expect(
    store.call("upsertVectors", [refusedChunk({ name: "", values: 1 })]),
  ).rejects.toMatchObject({ message: expect.stringContaining("1 value, the store takes 32") });

  const call = store.call("upsertVectors", [refusedChunk({ name: "", values: 3072 })]);
  await expect(call).rejects.toMatchObject({
    message: expect.stringContaining("3072 values, the store takes 32"),
    remedy: expect.stringContaining("ask the embedding model for 32 dimensions"),
  });
});

test("metadata of every kind comes back", async () => {
  const store = await bench.store();
  const more = { text: "größer 😀", n: 1, half: 0.5, flag: true, tags: ["x", "y"], in: { n: 2 } };
  const written = { ...chunk("a", 0), metadata: { ...chunk("a", 0).metadata, ...more, empty: "" } };

  await store.call("upsertVectors", [written]);

  expect(await store.call("getVectorsByFileId", "a")).toEqual([written]);
});

test("without an index every call says so", async () => {
  const store = await bench.store();
  await store.order({ targets: { VECTORIZE_INDEX: "absent" } });

  for (const call of [
    ["initializeCollection"],
    ["upsertVectors", chunks("a", 1)],
    ["deleteVectorsByIds", ["a_0"]],
    ["deleteVectorsByFileId", "a"],
    ["getCollectionInfo"],
    ["countVectors"],
  ] as const) {
    await expect(store.inOneInvocation([call])).rejects.toMatchObject({
      kind: "PreconditionError",
      remedy: expect.stringContaining("q2v provision"),
    });
  }
  await expect(store.call("upsertVectors", chunks("a", 1))).rejects.toMatchObject({
    message: expect.stringContaining("upsert of 1 vector from 'a_0': "),
  });
});

test("an index of another shape is refused", async () => {
  const store = await bench.store({ dimensions: 33 });

  await expect(store.call("initializeCollection")).rejects.toMatchObject({
    kind: "PreconditionError",
    message: expect.stringContaining("the index has 32 dimensions, the store was opened for 33"),
  });
});

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bench } from "./bench/bench";
import { type Chunk, chunk, chunks } from "./bench/cases";
import { RUNS_ALL } from "./bench/tier";

const WHOLE = { wholeFiles: true };
let bench: Bench;

beforeAll(async () => {
  bench = await Bench.start();
});

afterAll(() => bench?.stop());

// Of the largest the conformance cases write, read and delete a part of the chunks as well.
describe.each([1, 20, 21, 100, 101, ...(RUNS_ALL ? [2_500] : [])])(
  "a file of %i chunks",
  (count) => {
    test("is written, read, and deleted without a rest", async () => {
      const store = await bench.store();
      await store.call("upsertVectors", [...chunks("a", count), ...chunks("b", 2)]);
      const ids = chunks("a", count).map(({ id }) => id);
      expect((await store.held()).entries["file:a"]).toEqual(ids);
      const read = (await store.call("getVectorsByFileId", "a")) as Chunk[];
      expect(read).toEqual(chunks("a", count));

      await store.order({});
      await store.call("deleteVectorsByFileId", "a");

      expect(await store.held()).toMatchObject({
        ids: ["b_0", "b_1"],
        entries: { "file:b": ["b_0", "b_1"] },
        counter: 2,
      });
    });
  },
);

test("an upsert of one file makes six subrequests, in the order that is safe", async () => {
  const store = await bench.store();
  await store.order({});

  await store.call("upsertVectors", chunks("a", 20));

  expect((await store.seen()).map(({ operation, key }) => [operation, key])).toEqual([
    ["bulk", "bulk/get"],
    ["upsert", ""],
    ["getByIds", ""],
    ["PUT", "file:a"],
    ["info", ""],
    ["PUT", "_vector_count"],
  ]);
});

test("a deletion of ids writes the entry before it removes vectors", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 5));
  await store.order({});

  await store.call("deleteVectorsByIds", ["a_1", "a_3"]);

  expect((await store.seen()).map(({ operation, key }) => [operation, key])).toEqual([
    ["bulk", "bulk/get"],
    ["getByIds", ""],
    ["PUT", "file:a"],
    ["deleteByIds", ""],
    ["info", ""],
    ["PUT", "_vector_count"],
  ]);
});

test("a deletion of a file notes it in the entry, removes vectors, then the key", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 101));
  await store.order({});

  await store.call("deleteVectorsByFileId", "a");

  expect((await store.seen()).map(({ operation, key }) => [operation, key])).toEqual([
    ["bulk", "bulk/get"],
    ["getByIds", ""],
    ["PUT", "file:a"],
    ["deleteByIds", ""],
    ["deleteByIds", ""],
    ["DELETE", "file:a"],
    ["info", ""],
    ["PUT", "_vector_count"],
  ]);
});

test("an upsert is divided by bytes", async () => {
  const bodyBytesMax = 20_000;
  const store = await bench.store({ bodyBytesMax });
  await store.order({});

  await store.call("upsertVectors", chunks("a", 60));

  const upserts = (await store.seen()).filter(({ operation }) => operation === "upsert");
  expect(upserts.length).toBeGreaterThan(1);
  expect(Math.max(...upserts.map(({ bytes }) => bytes))).toBeLessThanOrEqual(bodyBytesMax);
  expect((await store.held()).ids).toHaveLength(60);
});

test("vectors that no entry names are found and removed with the file", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 250)); // more than a deletion takes in one request
  await store.plant("file:a", '["a_0"]');

  await store.call("deleteVectorsByFileId", "a");

  expect(await store.held()).toMatchObject({ ids: [], entries: {}, counter: 0 });
});

test("what a deletion has removed is noted until the index has processed it", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 4));
  await store.call("deleteVectorsByIds", ["a_1"]);
  expect(await store.metadata()).toEqual({
    "file:a": { removing: "1", since: expect.any(Number) },
  });

  await store.call("upsertVectors", chunks("a", 1));
  expect(await store.metadata()).toHaveProperty("file:a");
  await store.call("upsertVectors", [chunk("a", 1, 2)]); // it is there for certain
  expect(await store.metadata()).toEqual({});

  await store.plant("file:a", '["a_0","a_2"]', { removing: "1,3,9", since: 1_790_000_000_000 });
  await store.call("upsertVectors", chunks("a", 1));
  expect((await store.held()).entries).toEqual({ "file:a": ["a_0", "a_1", "a_2", "a_3"] });
  expect(await store.metadata()).toEqual({});
});

test("a vector that the index still shows after its deletion leaves the entry with a later call", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 30));
  const removing = { removing: "1,25-29", since: Date.now() };
  await store.plant("file:a", JSON.stringify(chunks("a", 25).map(({ id }) => id)), removing);

  await store.call("upsertVectors", chunks("a", 1));
  expect((await store.held()).entries["file:a"]).toHaveLength(30);
  await store.removeBehind(["a_1", "a_25", "a_26", "a_27", "a_28", "a_29"]);
  await store.call("upsertVectors", chunks("a", 1));

  const { ids, entries } = await store.held();
  expect(entries["file:a"]).toHaveLength(24);
  expect((entries["file:a"] as string[]).toSorted()).toEqual(ids);
});

test("metadata of another program is no removal", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 2));
  for (const metadata of ["text", { removing: "0-99999999", since: 1 }, { removing: [0] }]) {
    await store.plant("file:a", '["a_0","a_1"]', metadata);
    await store.call("upsertVectors", chunks("a", 1));
    expect((await store.held()).entries).toEqual({ "file:a": ["a_0", "a_1"] });
    expect(await store.metadata()).toEqual({});
  }
});

test("a wrong counter is put right by any call that writes", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", chunks("a", 3));
  for (const call of [
    ["upsertVectors", chunks("a", 3)],
    ["deleteVectorsByIds", ["absent_0"]],
    ["deleteVectorsByFileId", "absent"],
    ["initializeCollection"],
    ["refreshCounter"],
  ] as const) {
    await store.plant("_vector_count", "1000");
    await store.inOneInvocation([call]);
    expect((await store.held()).counter).toBe(3);
  }
});

test("an entry that another program has damaged is named and not used", async () => {
  const store = await bench.store();
  for (const value of ["{}", "not json", "[1]", '"a_0"']) {
    await store.plant("file:a", value);
    const call = store.call("upsertVectors", chunks("a", 1));
    await expect(call).rejects.toMatchObject({
      kind: "PreconditionError",
      message: expect.stringContaining("KV entry 'file:a' is no JSON list of vector ids"),
    });
    await store.plant("file:a", "[]");
  }
});

test("ids of other files in an entry are left alone", async () => {
  const store = await bench.store();
  await store.call("upsertVectors", [...chunks("a", 1), ...chunks("b", 1)]);
  await store.plant("file:a", '["b_0", "a_0", "other"]');

  await store.call("deleteVectorsByFileId", "a");

  expect((await store.held()).ids).toEqual(["b_0"]);
});

test("entries never expire unless the rules say so, and then each rewrite sets it again", async () => {
  const store = await bench.store({ ttlSeconds: 3_600 });
  const nowS = Date.now() / 1_000;
  await store.call("upsertVectors", chunks("a", 2));
  await store.call("deleteVectorsByIds", ["a_1"]);

  const { expirations } = await store.held();
  expect(Object.keys(expirations)).toEqual(["file:a"]);
  expect(expirations["file:a"]).toBeGreaterThan(nowS + 3_000);
});

test("vectors of another namespace are neither taken into an entry nor removed", async () => {
  const store = await bench.store({ namespace: "tenant-1" });
  await store.inOneInvocation([["upsertVectors", chunks("a", 2)]]);
  const other = store.with({ namespace: "tenant-2" });
  await other.call("upsertVectors", [chunk("a", 5)]);

  expect((await other.held()).entries["file:a"]).toEqual(["a_0", "a_1", "a_5"]);
  const read = (await other.call("getVectorsByFileId", "a")) as Chunk[];
  expect(read.map(({ id }) => id)).toEqual(["a_5"]);
  await store.plant("file:a", "[]");
  await store.call("deleteVectorsByFileId", "a");
  expect((await store.held()).ids).toEqual(["a_5"]);
});

test("the metadata of an entry names the namespace, as that of q2v does", async () => {
  const store = await bench.store({ namespace: "tenant-1" });
  await store.call("upsertVectors", chunks("a", 2));
  expect(await store.metadata()).toEqual({ "file:a": { namespace: "tenant-1" } });

  await store.call("deleteVectorsByIds", ["a_1"]);
  expect(await store.metadata()).toEqual({
    "file:a": { namespace: "tenant-1", removing: "1", since: expect.any(Number) },
  });
});

test("rules that the services cannot meet are refused before anything is sent", async () => {
  for (const [options, message] of [
    [{ dimensions: 3_072 }, "3072 dimensions, a vector index takes 32 to 1536"],
    [{ ttlSeconds: 59 }, "ttlSeconds is 59, KV takes 60 or more"],
    [{ namespace: "" }, "expected 1 to 64 bytes"],
    [{ keyTemplate: "file" }, "keyTemplate 'file': expected {file_id} once"],
    [{ idTemplate: "{file_id}{chunk_index}" }, "with something other than digits between them"],
    [{ counterKey: "a b" }, "counterKey 'a b': "],
  ] as const) {
    const store = await bench.store(options);
    await expect(store.call("countVectors")).rejects.toMatchObject({
      kind: "PreconditionError",
      message: expect.stringContaining(message),
    });
    expect(await store.seen()).toEqual([]);
  }
});

test("a file that would have the key of the counter is refused", async () => {
  const store = await bench.store({ keyTemplate: "{file_id}" });

  await expect(store.call("upsertVectors", chunks("_vector_count", 1))).rejects.toMatchObject({
    kind: "UsageError",
    message: expect.stringContaining("the counter has this key"),
  });
});

describe("services that fail now and then", () => {
  test("a story of calls ends as undisturbed", async () => {
    const faults = "lost-answer:every=7,html-502:every=11,40041:every=5,reset:every=13";
    const failing = await Bench.start("instant", faults);
    try {
      const store = await failing.store({ retry: { attempts: 8, pauseMs: 1, busyPauseMs: 1 } });
      await store.call("upsertVectors", [...chunks("a", 45), ...chunks("b", 3)]);
      await store.call("upsertVectors", chunks("a", 30, 0, 2), WHOLE);
      await store.call("deleteVectorsByIds", ["a_3", "b_1"]);
      const read = (await store.call("getVectorsByFileId", "a")) as Chunk[];
      await store.call("deleteVectorsByFileId", "b");

      const expected = chunks("a", 30, 0, 2).filter(({ id }) => id !== "a_3");
      expect(read).toEqual(expected);
      expect(await store.held()).toMatchObject({
        entries: { "file:a": expected.map(({ id }) => id) },
        counter: expected.length,
      });
    } finally {
      await failing.stop();
    }
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VectorizeClient } from "../../src/client";
import { metadataOf, placeOf } from "../../src/client/files/entry";
import { ranked } from "../../src/client/indexes/placement";
import { DEFAULT_RULES, Naming } from "../../src/client/rules";
import { Bench, type Store } from "./bench/bench";
import { CASES, type Chunk, chunk, chunks } from "./bench/cases";

let bench: Bench;

beforeAll(async () => {
  bench = await Bench.start();
});

afterAll(() => bench?.stop());

/** The indexes of a store in the order of the hash for file `a`. */
async function order(store: Store, fileId = "a"): Promise<[string, string, string]> {
  const [first = "", second = "", third = ""] = await ranked(store.indexes, fileId);
  return [first, second, third];
}

async function held(store: Store): Promise<Record<string, readonly string[]>> {
  const parts = await store.parts();
  return Object.fromEntries(Object.entries(parts).map(([index, { ids }]) => [index, ids]));
}

async function seen(store: Store): Promise<[string, string][]> {
  const { indexes } = store;
  const bindings = ["VECTORIZE_INDEX", "SECOND_INDEX", "THIRD_INDEX"];
  return (await store.seen()).map(({ binding, operation, key }) => [
    operation,
    bindings.includes(binding) ? (indexes[bindings.indexOf(binding)] ?? "") : key,
  ]);
}

/** tests/conformance/shards.json; the README there says what the members mean. */
const SHARDS = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../tests/conformance/shards.json"), "utf8"),
) as {
  readonly format: number;
  readonly cases: readonly {
    readonly indexes: readonly string[];
    readonly keys: readonly (readonly [key: string, index: string])[];
  }[];
  readonly counters: readonly (readonly [counterKey: string, index: string, key: string])[];
  readonly entries: readonly {
    readonly indexes: readonly string[];
    readonly file: string;
    readonly namespace: string | null;
    readonly metadata: unknown;
  }[];
};

describe("what every language agrees on", () => {
  test("the runner knows the format of the cases", () => {
    expect(SHARDS.format).toBe(1);
  });

  test.each(SHARDS.cases)("which index of $indexes has a file", async ({ indexes, keys }) => {
    for (const [key, index] of keys) {
      expect([key, (await ranked(indexes, key))[0]]).toEqual([key, index]);
      expect([key, (await ranked(indexes.toReversed(), key))[0]]).toEqual([key, index]);
    }
  });

  test.each(SHARDS.counters)("the counter %s of index %s", (counterKey, index, key) => {
    const naming = new Naming({ ...DEFAULT_RULES, dimensions: 32, counterKey }, [index]);
    expect(naming.counterKey(index)).toBe(key);
  });

  test.each(SHARDS.entries)(
    "the metadata of $file",
    async ({ indexes, file, namespace, metadata }) => {
      const [index = ""] = await ranked(indexes, file);
      const place = placeOf({ ids: [], removal: null, index }, namespace ?? undefined);
      expect(metadataOf(null, place)).toEqual(metadata);
    },
  );
});

describe("where a file is", () => {
  test("the first of the order has the largest hash, whatever the order of the list", async () => {
    const names = ["wiki-0", "wiki-1", "wiki-2", "wiki-3"];
    const counts = new Map<string, number>();
    for (let number = 0; number < 400; number += 1) {
      const found = await ranked(names, `file ${number}`);
      expect(await ranked(names.toReversed(), `file ${number}`)).toEqual(found);
      const [first = ""] = found;
      counts.set(first, (counts.get(first) ?? 0) + 1);
      // One index less moves the files of that index alone, each to the second of its order.
      const fewer = names.filter((name) => name !== "wiki-2");
      expect(await ranked(fewer, `file ${number}`)).toEqual(
        found.filter((name) => name !== "wiki-2"),
      );
    }
    expect(Math.min(...counts.values())).toBeGreaterThan(60);
  });

  test("a new file is written where the hash says, and its entry names the index", async () => {
    const store = await bench.store({}, 3);
    const fileIds = Array.from({ length: 12 }, (_, number) => `file-${number}`);
    await store.call(
      "upsertVectors",
      fileIds.flatMap((fileId) => chunks(fileId, 2)),
    );

    const expected = new Map<string, string[]>(store.indexes.map((index) => [index, []]));
    const metadata = await store.metadata();
    for (const fileId of fileIds) {
      const [index] = await order(store, fileId);
      expect(metadata[`file:${fileId}`]).toEqual({ index });
      expected.get(index)?.push(`${fileId}_0`, `${fileId}_1`);
    }
    const parts = await store.parts();
    for (const [index, ids] of expected) {
      expect(parts[index]).toEqual({ ids: ids.toSorted(), counter: ids.length });
    }
    expect(await store.call("countVectors")).toBe(24);
  });

  test("a file stays where its entry says, also when the hash says otherwise", async () => {
    const store = await bench.store({}, 3);
    const [first, second, third] = await order(store);
    await store.over([third]).call("upsertVectors", chunks("a", 3)); // a shorter list
    await store.order({});

    await store.call("upsertVectors", chunks("a", 2, 3));
    expect(await held(store)).toMatchObject({ [first]: [], [second]: [] });
    expect(await store.call("getVectorsByFileId", "a")).toEqual(chunks("a", 5));
    expect(await store.metadata()).toEqual({ "file:a": { index: third } });

    await store.call("deleteVectorsByIds", ["a_1"]);
    expect((await store.parts())[third]?.ids).toEqual(["a_0", "a_2", "a_3", "a_4"]);
    const noted = { index: third, removing: "1", since: expect.any(Number) };
    expect(await store.metadata()).toEqual({ "file:a": noted });

    await store.call("deleteVectorsByFileId", "a");
    expect(await store.held()).toMatchObject({ ids: [], entries: {}, counter: 0 });
  });

  test.each([
    ["an upsert of the first chunks", ["upsertVectors", chunks("a", 1, 0, 2)], [0, 30]],
    ["an upsert of a later chunk", ["upsertVectors", [chunk("a", 29, 2)]], [0, 30]],
    ["a deletion of ids", ["deleteVectorsByIds", ["a_29"]], [0, 29]],
    ["a deletion of the file", ["deleteVectorsByFileId", "a"], [0, 0]],
  ] as const)("%s finds the vectors of a file whose entry is lost", async (_, call, left) => {
    for (const at of [0, 1, 2]) {
      const store = await bench.store({}, 3);
      const index = (await order(store))[at] ?? "";
      await store.over([index]).call("upsertVectors", chunks("a", 30));
      await store.removeKey("file:a");
      await store.order({});

      await store.inOneInvocation([call]);

      const ids = chunks("a", left[1], left[0]).map(({ id }) => id);
      const parts = await held(store);
      expect(parts[index]).toEqual(ids.toSorted());
      expect((await store.held()).ids).toEqual(ids.toSorted());
      expect((await store.held()).entries).toEqual(ids.length === 0 ? {} : { "file:a": ids });
      if (ids.length > 0) {
        expect(await store.metadata()).toMatchObject({ "file:a": { index } });
      }
    }
  });

  test("a later chunk alone is found by the id that a call names", async () => {
    const store = await bench.store({}, 3);
    const [, second] = await order(store);
    await store.over([second]).call("upsertVectors", [chunk("a", 700)]);
    await store.removeKey("file:a");
    await store.order({});

    await store.call("deleteVectorsByIds", ["a_700"]);

    expect((await store.held()).ids).toEqual([]);
  });

  test("vectors in two indexes and no entry: the index of the hash has the file", async () => {
    const store = await bench.store({}, 3);
    const [first, second] = await order(store);
    for (const index of [first, second]) {
      await store.over([index]).call("upsertVectors", chunks("a", 2));
      await store.removeKey("file:a");
    }
    await store.order({});

    await store.call("upsertVectors", [chunk("a", 2)]);

    expect(await store.metadata()).toEqual({ "file:a": { index: first } });
    expect((await held(store))[first]).toEqual(["a_0", "a_1", "a_2"]);
  });
});

describe("subrequests", () => {
  test("a new file is asked for in each index, then written in the order that is safe", async () => {
    const store = await bench.store({}, 3);
    const [index] = await order(store);

    await store.order({});
    await store.call("upsertVectors", chunks("a", 20));

    const [read, ...rest] = await seen(store);
    expect(read).toEqual(["bulk", "bulk/get"]);
    expect(rest.slice(0, 3).toSorted()).toEqual(store.indexes.map((name) => ["getByIds", name]));
    expect(rest.slice(3)).toEqual([
      ["upsert", index],
      ["getByIds", index],
      ["PUT", "file:a"],
      ["info", index],
      ["PUT", `_vector_count:${index}`],
    ]);
  });

  test("a known file reaches no other index", async () => {
    const store = await bench.store({}, 3);
    const [index] = await order(store);
    await store.call("upsertVectors", chunks("a", 20));
    const others = store.indexes.filter((name) => name !== index);

    for (const call of [
      ["upsertVectors", chunks("a", 20)],
      ["getVectorsByFileId", "a"],
      ["deleteVectorsByIds", ["a_3"]],
      ["deleteVectorsByFileId", "a"],
    ] as const) {
      await store.order({});
      await store.inOneInvocation([call]);
      expect((await seen(store)).filter(([, place]) => others.includes(place))).toEqual([]);
    }
  });

  test("a file that has no entry is not looked for by a reader", async () => {
    const store = await bench.store({}, 3);
    await store.order({});

    expect(await store.call("getVectorsByFileId", "a")).toEqual([]);
    expect(await seen(store)).toEqual([["bulk", "bulk/get"]]);
  });
});

describe("an entry of which the store does not know the index", () => {
  const CALLS = [
    ["upsertVectors", chunks("a", 1)],
    ["getVectorsByFileId", "a"],
    ["deleteVectorsByIds", ["a_0"]],
    ["deleteVectorsByFileId", "a"],
  ] as const;

  test.each(CALLS)("is named before anything is written: %s", async (...call) => {
    const store = await bench.store({}, 3);
    const names = store.indexes.map((name) => `'${name}'`).join(", ");
    for (const [metadata, message, remedy] of [
      [
        { index: "wiki-9" },
        `names the index 'wiki-9', and the store has ${names}`,
        "a binding of 'wiki-9'",
      ],
      [null, `names no index, and the store has several: ${names}`, "q2v migrate"],
      [{ removing: "1", since: 1 }, "names no index", "q2v migrate"],
    ] as const) {
      await store.plant("file:a", '["a_0"]', metadata);
      await store.order({});
      await expect(store.inOneInvocation([call])).rejects.toMatchObject({
        kind: "PreconditionError",
        message: expect.stringContaining(`KV entry 'file:a' ${message}`),
        remedy: expect.stringContaining(remedy),
      });
      expect((await seen(store)).map(([operation]) => operation)).toEqual(["bulk"]);
    }
  });

  test.each(CALLS)("is named by a store of one binding too: %s", async (...call) => {
    const store = await bench.store({}, 3);
    const [index] = await order(store);
    await store.call("upsertVectors", chunks("a", 1));

    await expect(store.withoutNames().inOneInvocation([call])).rejects.toMatchObject({
      kind: "PreconditionError",
      message: expect.stringContaining(`KV entry 'file:a' names the index '${index}'`),
      remedy: expect.stringContaining("a record of all indexes"),
    });
    expect(await store.call("getVectorsByFileId", "a")).toEqual(chunks("a", 1));
  });
});

describe("all indexes", () => {
  test("are described, counted and initialized, each with its counter", async () => {
    const store = await bench.store({}, 3);
    await store.call("initializeCollection");
    expect(Object.values(await store.parts())).toEqual([
      { ids: [], counter: 0 },
      { ids: [], counter: 0 },
      { ids: [], counter: 0 },
    ]);

    const fileIds = Array.from({ length: 9 }, (_, number) => `file-${number}`);
    await store.call(
      "upsertVectors",
      fileIds.flatMap((fileId) => chunks(fileId, 1)),
    );
    const parts = Object.entries(await store.parts());
    const state = (vectors: number) => ({
      dimensions: CASES.rules.dimensions,
      vectors,
      processedUpToMutation: vectors === 0 ? null : expect.any(String),
    });
    expect(await store.call("getCollectionInfo")).toEqual({
      dimensions: CASES.rules.dimensions,
      metric: "cosine",
      vectors: 9,
      processedUpToMutation: null,
      indexes: Object.fromEntries(parts.map(([index, { ids }]) => [index, state(ids.length)])),
    });

    for (const index of store.indexes) {
      await store.plant(`_vector_count:${index}`, "1000");
    }
    expect(await store.call("refreshCounter")).toBe(9);
    expect(Object.entries(await store.parts())).toEqual(parts);
  });

  test("one that is not there, or has another shape, is named", async () => {
    const store = await bench.store({}, 3);
    const [, second = ""] = store.indexes;
    await store.order({ targets: { SECOND_INDEX: "absent" } });
    for (const method of ["initializeCollection", "getCollectionInfo", "countVectors"]) {
      await expect(store.call(method)).rejects.toMatchObject({
        kind: "PreconditionError",
        message: expect.stringContaining(`index '${second}': description of the index: `),
        remedy: expect.stringContaining("q2v provision"),
      });
    }
    await store.order({});
    await expect(store.with({ dimensions: 33 }).call("initializeCollection")).rejects.toMatchObject(
      {
        kind: "PreconditionError",
        message: expect.stringMatching(/^the index 'store-\d+-0' has 32 dimensions, the store was/),
      },
    );
  });

  test("a file that would have the key of one of their counters is refused", async () => {
    const store = await bench.store({ keyTemplate: "{file_id}" }, 3);
    const fileId = `_vector_count:${store.indexes[1]}`;

    await expect(store.call("upsertVectors", chunks(fileId, 1))).rejects.toMatchObject({
      kind: "UsageError",
      message: expect.stringContaining("the counter has this key"),
    });
    await store.call("upsertVectors", chunks("_vector_count", 1)); // no counter has it
  });

  test("namespaces and names of indexes are both in the metadata", async () => {
    const store = await bench.store({ namespace: "tenant-1" }, 2);
    const [index] = await order(store);
    await store.call("upsertVectors", chunks("a", 2));
    await store.call("deleteVectorsByIds", ["a_1"]);

    expect(await store.metadata()).toEqual({
      "file:a": { namespace: "tenant-1", index, removing: "1", since: expect.any(Number) },
    });
    const read = (await store.call("getVectorsByFileId", "a")) as Chunk[];
    expect(read.map(({ id }) => id)).toEqual(["a_0"]);
  });
});

describe("a record of bindings", () => {
  const binding = { getByIds: () => Promise.resolve([]) } as unknown as Vectorize;
  const open = (record: unknown) =>
    new VectorizeClient(record as Vectorize, {} as KVNamespace, { dimensions: 32 });

  test("of one index is one", () => {
    expect(open({ "wiki-0": binding }).generateVectorId("a", 1)).toBe("a_1");
  });

  test.each([
    ["without bindings", {}, "found no Vectorize binding"],
    ["that is none", undefined, "found no Vectorize binding"],
    [
      "with a binding that env has not",
      { "wiki-0": binding, "wiki-1": undefined },
      "index 'wiki-1': found no",
    ],
    ["with another binding", { "wiki-0": { get: () => null } }, "index 'wiki-0': found no"],
    ["with an empty name", { "": binding }, "index '': expected a name of 1 to 64 bytes"],
    ["with a long name", { ["i".repeat(65)]: binding }, "expected a name of 1 to 64 bytes"],
    [
      "with a name that no counter can have",
      { "a b": binding },
      "counterKey '_vector_count:a b': ",
    ],
  ])("%s is refused", (_, record, message) => {
    expect(() => open(record)).toThrow(message);
  });
});

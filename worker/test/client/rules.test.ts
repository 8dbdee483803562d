import { describe, expect, test } from "vitest";
import { batches, inLanes, slices } from "../../src/client/batches";
import { checkVectors } from "../../src/client/check";
import { idsThatMayFollow } from "../../src/client/indexes/repair";
import { verdictOf } from "../../src/client/retry";
import { DEFAULT_RULES, keyFault, Naming } from "../../src/client/rules";
import { CASES, chunk, refusedChunk } from "./bench/cases";

const RULES = { ...DEFAULT_RULES, dimensions: CASES.rules.dimensions };
const naming = new Naming(RULES);

describe("ids", () => {
  test.each(CASES.ids)("of $file_id, chunk $chunk_index", ({ file_id, chunk_index, id }) => {
    expect(naming.vectorId(file_id, chunk_index)).toBe(id);
    expect(naming.parse(id)).toEqual({ fileId: file_id, chunkIndex: chunk_index });
  });

  test.each(CASES.no_ids)("%j is none", (text) => {
    expect(naming.parse(text)).toBeNull();
  });

  test.each(CASES.no_chunks)("none of $file_id, chunk $chunk_index", ({ file_id, chunk_index }) => {
    expect(() => naming.vectorId(file_id, chunk_index)).toThrow(/./);
  });

  test.each([
    "v1/{chunk_index}.{file_id}",
    "{file_id}$&{chunk_index}",
    "[{file_id}]_1{chunk_index}+",
  ])("of the template %s are parsed back", (idTemplate) => {
    const other = new Naming({ ...RULES, idTemplate });
    for (const fileId of ["a", "a_1", "$&", "$1", "1.2", "a\nb", "_10", "größer-😀"]) {
      for (const chunkIndex of [0, 1, 10, 2_499]) {
        const id = other.vectorId(fileId, chunkIndex);
        expect(other.parse(id)).toEqual({ fileId, chunkIndex });
      }
    }
  });

  test("a key holds the file's id as it is", () => {
    expect(naming.key("$& $1")).toBe("file:$& $1");
  });

  test.each([".", "..", "", "a b", "a\u00a0b", "a\u0000", "a\u200b", "\ud800", "x".repeat(513)])(
    "KV takes no key %j",
    (key) => {
      expect(keyFault(key)).not.toBeNull();
    },
  );

  test.each(["file:a/b?c=%20#", "größer-😀", "x".repeat(512)])("KV takes the key %j", (key) => {
    expect(keyFault(key)).toBeNull();
  });
});

describe("vectors", () => {
  const whole = chunk("a", 0);
  const withMore = (more: Record<string, unknown>) => ({
    ...whole,
    metadata: { ...whole.metadata, ...more },
  });

  test.each(CASES.refused)("$name: refused", (given) => {
    expect(() => checkVectors([refusedChunk(given)], naming)).toThrow(/; nothing was sent$/);
  });

  test.each([
    ["NaN", Number.NaN],
    ["infinity in the metadata", Number.POSITIVE_INFINITY],
    ["an integer beyond 2^53", 2 ** 53],
    ["a function", () => 1],
    ["a bigint", 1n],
    ["a date", new Date(0)],
    ["an object two levels down", { in: { in: {} } }],
    ["null in an object", { in: null }],
    ["a list in a list", [["x"]]],
    ["a lone surrogate", "\ud835"],
    ["a lone surrogate in a list", ["\ud835"]],
  ])("%s in the metadata: refused", (_, value) => {
    expect(() => checkVectors([withMore({ more: value })], naming)).toThrow(
      /'more' in the metadata/,
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 3.4028236e38, "1", null])(
    "%s among the values: refused",
    (value) => {
      const values = [value as number, ...whole.values.slice(1)];
      expect(() => checkVectors([{ ...whole, values }], naming)).toThrow("vector 'a_0': ");
    },
  );

  test("what float32 rounds to zero has no direction", () => {
    const values = whole.values.map(() => 1e-46);

    expect(() => checkVectors([{ ...whole, values }], naming)).toThrow("all values are zero");
    const dot = new Naming({ ...RULES, metric: "dot-product" });
    expect(checkVectors([{ ...whole, values }], dot)).toHaveLength(1);
  });

  test("typed arrays are taken as they are", () => {
    const values = new Float32Array(whole.values);

    expect(checkVectors([{ ...whole, values }], naming)[0]?.values).toEqual(whole.values);
  });

  test("undefined is as a field that is left out; null only where the rules say so", () => {
    expect(checkVectors([withMore({ more: undefined })], naming)[0]?.metadata).toEqual(
      whole.metadata,
    );
    const lenient = new Naming({ ...RULES, nulls: "leave_out" });
    expect(checkVectors([withMore({ more: null })], lenient)[0]?.metadata).toEqual(whole.metadata);
  });

  test("10,240 bytes of metadata are taken, and not one more", () => {
    const room = 10_240 - Buffer.byteLength(JSON.stringify({ ...whole.metadata, more: "" }));

    expect(
      checkVectors([withMore({ more: "ö".repeat(room / 2) + "x".repeat(room % 2) })], naming),
    ).toHaveLength(1);
    expect(() => checkVectors([withMore({ more: "x".repeat(room + 1) })], naming)).toThrow(
      "10241 bytes of metadata, at most 10240 are possible",
    );
  });

  test("`__proto__` is a field as any other", () => {
    const metadata = JSON.parse(
      JSON.stringify(whole.metadata).replace("{", '{"__proto__":"x",'),
    ) as Record<string, unknown>;

    const [checked] = checkVectors([{ ...whole, metadata }], naming);
    expect(JSON.parse(JSON.stringify(checked?.metadata))).toEqual(metadata);
  });

  test("a vector never takes more bytes than its batch says", () => {
    const values = whole.values.map((_, at) => -Number.MIN_VALUE * 1e285 * (1 + at / 7));
    const dot = new Naming({ ...RULES, metric: "dot-product" });
    const [checked] = checkVectors([{ ...whole, values }], dot);
    const { id, metadata } = whole;

    const sent = JSON.stringify({ id, values, metadata, namespace: "x".repeat(8) });
    expect(sent.length).toBeLessThanOrEqual(checked?.bytesMax ?? 0);
  });
});

describe("batches", () => {
  const items = [3, 3, 3, 9, 1].map((bytesMax) => ({ bytesMax }));
  const sizes = (limits: { countMax: number; bytesMax: number }) =>
    batches(items, limits).map((batch) => batch.map(({ bytesMax }) => bytesMax));

  test("hold as many as count and bytes allow, in order", () => {
    expect(sizes({ countMax: 2, bytesMax: 100 })).toEqual([[3, 3], [3, 9], [1]]);
    expect(sizes({ countMax: 9, bytesMax: 6 })).toEqual([[3, 3], [3], [9], [1]]);
    expect(sizes({ countMax: 9, bytesMax: 19 })).toEqual([[3, 3, 3, 9, 1]]);
    expect(batches([], { countMax: 1, bytesMax: 1 })).toEqual([]);
    expect(slices([1, 2, 3], 2)).toEqual([[1, 2], [3]]);
  });

  test("lanes run at most their number at once, and keep the order of the answers", async () => {
    let running = 0;
    let most = 0;
    const answers = await inLanes([5, 1, 4, 2, 3, 0], 3, async (ms) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, ms));
      running -= 1;
      return ms;
    });

    expect(answers).toEqual([5, 1, 4, 2, 3, 0]);
    expect(most).toBe(3);
  });
});

test.each([
  ["VECTOR_UPSERT_ERROR (code = 40041): Too Many Requests", "busy"],
  ["KV PUT failed: 429 Too Many Requests", "busy"],
  ["VECTOR_GET_ERROR: Status + 504", "repeat"],
  ["KV GET failed: 503 Service Unavailable", "repeat"],
  ["Network connection lost.", "repeat"],
  ["Failed to parse body as JSON, got: <html>", "repeat"],
  ["VECTOR_UPSERT_ERROR (code = 40012): expected 32 dimensions", "refused"],
  ["KV PUT failed: 413 Value length exceeds limit", "refused"],
  ["INDEX_GET_ERROR (code = 3000): vectorize.index.not_found", "no index"],
  ["Too many subrequests by single Worker invocation.", "used up"],
] as const)("%s means %s", (message, verdict) => {
  expect(verdictOf(new Error(message))).toBe(verdict);
});

test("the last request of a deletion has room for numbers that may follow", () => {
  const ids = (...numbers: number[]) => numbers.map((number) => `a_${number}`);
  const upTo = (end: number) => ids(...Array.from({ length: end }, (_, number) => number));

  expect(idsThatMayFollow(naming, "a", [])).toEqual(upTo(100));
  expect(idsThatMayFollow(naming, "a", ids(1, 3))).toEqual([...ids(0, 2), ...upTo(100).slice(4)]);
  expect(idsThatMayFollow(naming, "a", upTo(100))).toEqual([]);
  expect(idsThatMayFollow(naming, "a", upTo(101))).toEqual(upTo(200).slice(101));
});

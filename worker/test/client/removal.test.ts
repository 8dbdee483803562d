import { describe, expect, test } from "vitest";
import {
  extended,
  type FileEntry,
  fittingNumbers,
  metadataOf,
  reduced,
  removalIn,
} from "../../src/client/files/entry";
import { idsInDoubt, removalSteps } from "../../src/client/files/removal";
import { KV_METADATA_BYTES } from "../../src/client/limits";
import { DEFAULT_RULES, Naming, utf8Bytes } from "../../src/client/rules";

const naming = new Naming({ ...DEFAULT_RULES, dimensions: 32 });
const NOW_MS = 1_790_000_000_000;

function removal(...numbers: number[]) {
  return { numbers: new Set(numbers), sinceMs: NOW_MS };
}

function entry(ids: readonly string[], ...numbers: number[]): FileEntry {
  return { ids, removal: numbers.length === 0 ? null : removal(...numbers), index: null };
}

function upTo(end: number): number[] {
  return Array.from({ length: end }, (_, number) => number);
}

describe("a removal in the metadata of an entry", () => {
  test.each([
    [[], ""],
    [[4], "4"],
    [[9, 1, 7, 4, 8], "1,4,7-9"],
    [[0, Number.MAX_SAFE_INTEGER], "0,9007199254740991"],
    [upTo(10_001), "0-9999,10000"],
  ])("is read as it was written", (numbers, text) => {
    const metadata = metadataOf(removal(...numbers), {});

    expect(metadata).toEqual({ removing: text, since: NOW_MS });
    expect(removalIn(JSON.parse(JSON.stringify(metadata)))).toEqual(removal(...numbers));
  });

  test.each([
    null,
    undefined,
    "1",
    7,
    [],
    {},
    { removing: "1" },
    { removing: 1, since: 1 },
    { removing: "1", since: "1" },
    { removing: "1,", since: 1 },
    { removing: "2-1", since: 1 },
    { removing: "0-10000", since: 1 },
    { removing: "9007199254740992", since: 1 },
  ])("%j is none", (metadata) => {
    expect(removalIn(metadata)).toBeNull();
  });

  test.each([
    ["one after the other", 1, 200_000, {}],
    ["every other one", 2, 2_000, {}],
    ["far apart", 100_000_000_000, 200, {}],
    ["in a namespace", 2, 2_000, { namespace: "\u0000é".repeat(21) }],
    ["in one of several indexes", 2, 2_000, { index: "i".repeat(64) }],
    ["in both", 2, 2_000, { namespace: "\u0000é".repeat(21), index: "i".repeat(64) }],
  ])("fits in as few groups as there are kilobytes: %s", (_, step, count, place) => {
    const numbers = upTo(count).map((at) => at * step);
    const groups = fittingNumbers(numbers.toReversed(), place);

    expect(groups.flat()).toEqual(numbers);
    const sizes = groups.map((some) => {
      const metadata = metadataOf({ numbers: new Set(some), sinceMs: NOW_MS }, place);
      return utf8Bytes(JSON.stringify(metadata));
    });
    expect(Math.max(...sizes)).toBeLessThanOrEqual(KV_METADATA_BYTES);
    expect(Math.min(...sizes.slice(0, -1), KV_METADATA_BYTES)).toBeGreaterThan(
      KV_METADATA_BYTES - 64,
    );
  });

  test("is joined with the one before where both fit, or else takes its place", () => {
    const [full = []] = fittingNumbers(
      upTo(500).map((at) => 2 * at),
      {},
    );

    expect(extended(removal(1), [3], NOW_MS, {})).toEqual(removal(1, 3));
    expect(extended(null, [3], NOW_MS, {})).toEqual(removal(3));
    expect(extended(removal(...full), [100_001, 100_003], NOW_MS, {})).toEqual(
      removal(100_001, 100_003),
    );
  });

  test("has no numbers that were written since", () => {
    expect(reduced(removal(1, 2), new Set([2, 5]))).toEqual(removal(1));
    expect(reduced(removal(1), new Set([1]))).toBeNull();
    expect(reduced(null, new Set([1]))).toBeNull();
  });
});

describe("the steps of a removal", () => {
  const steps = (ids: readonly string[], removed: readonly string[], more: string[] = []) =>
    removalSteps(naming, new Map([["a", entry(ids)]]), new Map([["a", removed]]), more, NOW_MS);
  const oneStep = (written: FileEntry, vectorIds: readonly string[]) => ({
    entries: new Map([["a", written]]),
    vectorIds,
  });

  test("write the entry without the ids, then remove the vectors", () => {
    expect(steps(["a_0", "a_1", "a_2"], ["a_2", "a_0"], ["a_9"])).toEqual([
      oneStep(entry(["a_1"], 0, 2), ["a_0", "a_2", "a_9"]),
    ]);
  });

  test("remove the key last", () => {
    expect(steps(["a_0"], ["a_0"])).toEqual([
      oneStep(entry([], 0), ["a_0"]),
      oneStep(entry([]), []),
    ]);
    expect(steps([], [], ["a_0"])).toEqual([oneStep(entry([]), ["a_0"])]);
  });

  test("name an id of another form until it is removed", () => {
    const noted = { ids: ["other"], removal: removal(), index: null };

    expect(steps(["other"], ["other"])).toEqual([
      oneStep(noted, ["other"]),
      oneStep(entry([]), []),
    ]);
    expect(idsInDoubt(naming, "a", noted)).toEqual(["other"]);
    expect(steps(["a_0", "a_1", "other"], ["a_1", "other"])).toEqual([
      oneStep(entry(["a_0", "other"], 1), ["a_1", "other"]),
      oneStep(entry(["a_0"], 1), []),
    ]);
    expect(idsInDoubt(naming, "a", entry(["a_0", "other"], 1))).toEqual(["a_1", "other"]);
  });

  test("are as many as the metadata needs, and a vector goes after its entry was written", () => {
    const numbers = upTo(150).map((at) => at * 100_000_000_000);
    const ids = numbers.map((number) => `a_${number}`);
    const found = steps(["a_1", ...ids], ids);

    expect(found).toHaveLength(3);
    expect(found.flatMap(({ vectorIds }) => vectorIds)).toEqual(ids);
    const gone = new Set<string>();
    for (const { entries, vectorIds } of found) {
      const written = entries.get("a");
      for (const id of vectorIds) {
        gone.add(id);
        expect(written?.removal?.numbers).toContain(naming.parse(id)?.chunkIndex);
      }
      expect(written?.ids.filter((id) => gone.has(id))).toEqual([]);
    }
  });

  test("write files of which nothing is removed too, and only in the first one", () => {
    const entries = new Map([
      ["a", entry(["a_0"])],
      ["b", entry(["b_0"])],
    ]);
    expect(removalSteps(naming, entries, new Map([["b", ["b_0"]]]), [], NOW_MS)).toEqual([
      {
        entries: new Map([
          ["a", entry(["a_0"])],
          ["b", entry([], 0)],
        ]),
        vectorIds: ["b_0"],
      },
      { entries: new Map([["b", entry([])]]), vectorIds: [] },
    ]);
  });
});

import { expect, test } from "vitest";
import { digestVector } from "../../src/verifier/digest.ts";
import type { IndexReader } from "../../src/verifier/index_reader.ts";
import type { Asked } from "../../src/verifier/question.ts";
import { read } from "../../src/verifier/reading.ts";

const noWait = async () => {};

function vectorOf(id: string) {
  return { id, values: [1, 2, 3], metadata: { id } };
}

function asked(count: number): Asked[] {
  return Array.from({ length: count }, (_, at) => {
    const id = `v${at}`;
    return { id, prefix: digestVector(vectorOf(id)).subarray(0, 8) };
  });
}

/** An index that holds every vector; `before` runs before each call. */
function index(before: (ids: string[]) => Promise<void> = noWait): IndexReader {
  return {
    describe: () => Promise.reject(new Error("not asked")),
    getByIds: async (ids) => {
      await before(ids);
      return ids.map(vectorOf);
    },
  };
}

test("a call has at most 20 ids, and at most six calls are under way", async () => {
  const sizes: number[] = [];
  let current = 0;
  let peak = 0;
  const reading = await read(
    index(async (ids) => {
      sizes.push(ids.length);
      peak = Math.max(peak, ++current);
      await new Promise((resolve) => setTimeout(resolve, 1));
      current--;
    }),
    asked(401),
  );

  expect([reading.read, reading.calls, reading.retries]).toEqual([401, 21, 0]);
  expect([Math.max(...sizes), Math.min(...sizes), peak]).toEqual([20, 1, 6]);
  expect([reading.missing, reading.differs, reading.unreadable]).toEqual([[], [], []]);
});

test("a call that fails is tried again, and counted", async () => {
  let left = 4;
  const reading = await read(
    index(async () => {
      if (left-- > 0) throw new Error("429");
    }),
    asked(15),
    noWait,
  );

  expect([reading.read, reading.calls, reading.retries]).toEqual([15, 5, 4]);
});

test("a service that never answers ends the reading after bounded tries", async () => {
  let calls = 0;
  const failing = index(async () => {
    calls++;
    throw new Error("down");
  });

  await expect(read(failing, asked(2000), noWait)).rejects.toMatchObject({ kind: "reads" });
  expect(calls).toBeLessThanOrEqual(6 * 5);
});

test("a plan without enough subrequests is named as such, without another try", async () => {
  let calls = 0;
  const few = index(async () => {
    if (++calls > 50) throw new Error("Too many subrequests.");
  });

  await expect(read(few, asked(2000), noWait)).rejects.toMatchObject({ kind: "subrequests" });
  expect(calls).toBeLessThanOrEqual(56);
});

test("missing, differing and unreadable vectors are named; the digest covers what was read", async () => {
  const odd: IndexReader = {
    ...index(),
    getByIds: async (ids) =>
      ids.flatMap((id): { id: string; values: unknown }[] => {
        if (id === "v1") return [];
        if (id === "v2") return [{ ...vectorOf(id), values: [1, 2, 4] }];
        return id === "v3" ? [{ ...vectorOf(id), values: [1, null, 3] }] : [vectorOf(id)];
      }),
  };
  const reading = await read(odd, asked(5));
  const whole = await read(index(), asked(5));

  expect([reading.read, reading.missing]).toEqual([3, ["v1"]]);
  expect(reading.differs.map(([id]) => id)).toEqual(["v2"]);
  expect(reading.unreadable).toEqual([["v3", "values that are no numbers"]]);
  expect(reading.digest).not.toBe(whole.digest);
});

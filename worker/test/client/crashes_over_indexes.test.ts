import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bench } from "./bench/bench";
import { chunk, chunks } from "./bench/cases";
import {
  type Call,
  checkConsistent,
  checkExact,
  checkReader,
  filesOf,
  healing,
  loseEach,
  numbersFrom,
  SCENARIOS,
  sweep,
  sweepWrites,
  WHOLE,
  type Where,
} from "./bench/crashing";
import { seeds } from "./bench/tier";

let bench: Bench;
let two: Where;

beforeAll(async () => {
  bench = await Bench.start();
  two = { bench, indexes: 2 };
});

afterAll(() => bench?.stop());

describe.each(SCENARIOS)(
  "$name, over two indexes, killed between any two subrequests",
  (scenario) => {
    test("the same call again completes it", async () => {
      const subrequests = await sweep(two, scenario, async (store, shown) => {
        await checkReader(store, { shown });
        await store.inOneInvocation([scenario.call]);
        await checkExact(store, scenario.after);
      });
      expect(subrequests).toBeGreaterThanOrEqual(6);
    });
  },
);

test("an upsert that begins with files in several indexes finds each where the store would write it", async () => {
  const before = ["a", "b", "c", "d"].flatMap((fileId) => chunks(fileId, 2));
  const store = await bench.store({}, 3);
  await store.fill(before);
  const filled = [await store.held(), await store.metadata(), await store.parts()];
  await store.call("upsertVectors", before);

  expect([await store.held(), await store.metadata(), await store.parts()]).toEqual(filled);
  await checkExact(store, before);
});

/** Those whose files may be in different indexes; what heals a file is the same as in one index. */
const OF_TWO_FILES = SCENARIOS.filter((scenario) => filesOf(scenario).length > 1);

describe.each(OF_TWO_FILES)("$name, over two indexes, killed", (scenario) => {
  test.each(healing(scenario))("%s heals it", async (_, callsAt) => {
    await sweepWrites(two, scenario, async (store, point) => {
      for (const fileId of filesOf(scenario)) {
        await store.inOneInvocation([callsAt(point)(fileId)]);
      }
      await checkConsistent(store);
    });
  });

  test("with one answer lost ends as undisturbed", async () => {
    await loseEach(two, scenario);
  });
});

const FILES = ["a", "b", "c", "d"] as const;
const NUMBERS = 12;

type Fate = "there" | "gone";

/** A call on several files, and what becomes of their chunks when it is completed. */
function anyCall(draw: (end: number) => number): [Call, Map<string, Fate>] {
  const some = FILES.filter(() => draw(2) === 0);
  const files = some.length === 0 ? [FILES[draw(FILES.length)] ?? "a"] : some;
  const version = 1 + draw(9);
  const written = files.flatMap((fileId) =>
    [...new Set(Array.from({ length: 1 + draw(4) }, () => draw(NUMBERS)))].map((number) =>
      chunk(fileId, number, version),
    ),
  );
  const ids = written.map(({ id }) => id);
  const fates = (fate: Fate, all: readonly string[]) => all.map((id) => [id, fate] as const);
  const every = (fileId: string) => chunks(fileId, NUMBERS).map(({ id }) => id);
  switch (draw(4)) {
    case 0:
      return [["upsertVectors", written], new Map(fates("there", ids))];
    case 1:
      return [
        ["upsertVectors", written, WHOLE],
        new Map([...fates("gone", files.flatMap(every)), ...fates("there", ids)]),
      ];
    case 2:
      return [["deleteVectorsByIds", ids], new Map(fates("gone", ids))];
    default: {
      const [fileId = "a"] = files;
      return [["deleteVectorsByFileId", fileId], new Map(fates("gone", every(fileId)))];
    }
  }
}

test.each(seeds(20))(
  "calls on files of three indexes, of which most are killed: seed %i",
  async (seed) => {
    const draw = numbersFrom(seed + 101);
    const store = await bench.store({}, 3);
    const all = FILES.flatMap((fileId) => chunks(fileId, 6));
    await store.call("upsertVectors", all);
    const fates = new Map<string, Fate | "either">(all.map(({ id }) => [id, "there"]));
    for (let round = 0; round < 6; round += 1) {
      const [call, completed] = anyCall(draw);
      const wasKilled = (await store.killAfter(draw(16), call)) !== null;
      for (const [id, fate] of completed) {
        const isAsBefore = (fates.get(id) ?? "gone") === fate;
        fates.set(id, wasKilled && !isAsBefore ? "either" : fate);
      }
      await checkReader(store, { fileIds: FILES });
    }
    const last = FILES.map((fileId) => chunk(fileId, NUMBERS, 3));
    await store.call("upsertVectors", last);

    await checkConsistent(store);
    const { ids } = await store.held();
    for (const [id, fate] of [...fates, ...last.map((one) => [one.id, "there"] as const)]) {
      const isThere = ids.includes(id);
      expect([id, isThere]).toEqual([id, fate === "either" ? isThere : fate === "there"]);
    }
  },
);

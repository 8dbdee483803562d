import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bench, type Store } from "./bench/bench";
import { chunk, chunks } from "./bench/cases";
import {
  type Call,
  checkConsistent,
  checkExact,
  checkNoOrphan,
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
let one: Where;

beforeAll(async () => {
  bench = await Bench.start();
  one = { bench, indexes: 0 };
});

afterAll(() => bench?.stop());

const FILLED = SCENARIOS.filter(({ before }) => before.length > 0);

test.each(FILLED)("$name begins with what the store has written itself", async ({ before }) => {
  const written = await bench.store();
  await written.call("upsertVectors", before);
  const filled = await bench.store();
  await filled.fill(before);

  expect(await filled.held()).toEqual(await written.held());
  expect(await filled.metadata()).toEqual(await written.metadata());
  await checkExact(filled, before);
});

describe.each(SCENARIOS)("$name, killed between any two subrequests", (scenario) => {
  test("the same call again completes it", async () => {
    const subrequests = await sweep(one, scenario, async (store, shown) => {
      await checkReader(store, { shown });
      await store.inOneInvocation([scenario.call]);
      await checkExact(store, scenario.after);
    });
    expect(subrequests).toBeGreaterThanOrEqual(6);
  });

  test("a deletion of the files leaves no vector, no key and the right counter", async () => {
    await sweepWrites(one, scenario, async (store) => {
      for (const fileId of filesOf(scenario)) {
        await store.call("deleteVectorsByFileId", fileId);
      }
      await checkExact(store, []);
    });
  });

  test.each(healing(scenario))("%s heals it", async (_, callsAt) => {
    await sweepWrites(one, scenario, async (store, point) => {
      for (const fileId of filesOf(scenario)) {
        await store.inOneInvocation([callsAt(point)(fileId)]);
      }
      await checkConsistent(store);
    });
  });
});

/** What is known of a chunk after calls of which some were killed. */
type Fate = "there" | "gone" | "either";

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

test.each(seeds(20))(
  "calls of which most are killed, those that heal too: seed %i",
  async (seed) => {
    const draw = numbersFrom(seed + 1);
    const store = await bench.store();
    await store.call("upsertVectors", chunks("a", 30));
    const fates = new Map<number, Fate>(chunks("a", 30).map((_, number) => [number, "there"]));
    for (let round = 0; round < 6; round += 1) {
      const [call, completed] = anyCall(draw);
      const wasKilled = (await store.killAfter(draw(9), call)) !== null;
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
  await loseEach(one, scenario);
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
    const running = store.inOneInvocation([first]);
    const wasHeld = await store.isHeldBeforeEnd(running);
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

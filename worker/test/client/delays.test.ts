import { describe, expect, test } from "vitest";
import { Bench } from "./bench/bench";
import { chunks } from "./bench/cases";

describe("delays of the live services, at a tenth", () => {
  test("one object remembers what KV and the index do not show yet", async () => {
    const slow = await Bench.start("strict");
    try {
      const store = await slow.store({ retry: {} });
      await store.inOneInvocation([
        ["upsertVectors", chunks("a", 25)],
        ["waitUntilProcessed", { pollMs: 200 }],
        ["deleteVectorsByFileId", "a"],
        ["upsertVectors", chunks("a", 5, 0, 2)],
        ["upsertVectors", chunks("a", 5, 5, 2)],
        ["deleteVectorsByIds", ["a_9"]],
        ["waitUntilProcessed", { pollMs: 200 }],
      ]);

      const ids = chunks("a", 9).map(({ id }) => id);
      await expect
        .poll(() => store.held(), { timeout: 40_000, interval: 500 })
        .toMatchObject({ ids, entries: { "file:a": ids } });
      await expect
        .poll(() => store.call("refreshCounter"), { timeout: 20_000, interval: 1_000 })
        .toBe(9);
    } finally {
      await slow.stop();
    }
  }, 90_000);

  test("readers see the writes to each of several indexes when the wait ends", async () => {
    const slow = await Bench.start("strict");
    try {
      const store = await slow.store({ retry: {} }, 3);
      const all = Array.from({ length: 8 }, (_, number) => chunks(`file-${number}`, 3)).flat();
      await store.inOneInvocation([
        ["upsertVectors", all],
        ["deleteVectorsByFileId", "file-0"],
        ["upsertVectors", chunks("file-0", 2, 0, 2)],
        ["waitUntilProcessed", { pollMs: 200 }],
      ]);

      const parts = Object.values(await store.parts());
      expect(parts.flatMap(({ ids }) => ids)).toHaveLength(23);
      expect(parts.filter(({ ids }) => ids.length > 0).length).toBeGreaterThan(1);
      await expect
        .poll(() => store.call("refreshCounter"), { timeout: 20_000, interval: 1_000 })
        .toBe(23);
    } finally {
      await slow.stop();
    }
  }, 90_000);
});

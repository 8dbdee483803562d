/** How a Worker with the store is tested: in real workerd, in front of `q2v sandbox`. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningWorker, startWorker } from "../../kit/runtime";
import { type RunningSandbox, startSandbox } from "../../kit/sandbox";
import { BINDINGS, RULES } from "../../src/migration";

let sandbox: RunningSandbox;
let worker: RunningWorker;

beforeAll(async () => {
  sandbox = await startSandbox("instant");
  const { dimensions, metric } = RULES;
  const { id } = await sandbox.call<{ id: string }>("POST", "/storage/kv/namespaces", {
    title: "files",
  });
  for (const name of Object.values(BINDINGS.vectorize)) {
    await sandbox.call("POST", "/vectorize/v2/indexes", { name, config: { dimensions, metric } });
  }
  worker = await startWorker(
    {
      main: join(import.meta.dirname, "worker.ts"),
      vectorize: BINDINGS.vectorize,
      kv: { [BINDINGS.kv]: id },
    },
    sandbox.address,
  );
});

afterAll(async () => {
  await worker?.stop();
  await sandbox?.stop();
});

function chunks(fileId: string, count: number, dimensions = RULES.dimensions) {
  return Array.from({ length: count }, (_, number) => ({
    id: RULES.idTemplate
      .replace(`{${RULES.groupKey}}`, fileId)
      .replace(`{${RULES.orderKey}}`, String(number)),
    values: Array.from({ length: dimensions }, (_, at) => Math.sin(at + number)),
    metadata: {
      [RULES.groupKey]: fileId,
      [RULES.orderKey]: number,
      ...(RULES.hashKey === "" ? {} : { [RULES.hashKey]: sha256(`${fileId} ${number}`) }),
    },
  }));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function call(method: string, fileId: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${worker.url}/${encodeURIComponent(fileId)}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return answer.json();
}

test("a file is written, becomes shorter, and is removed", async () => {
  const ids = chunks("report", 25).map(({ id }) => id);
  expect(await call("PUT", "report", chunks("report", 25))).toEqual({ ids, total: 25 });
  expect(await call("PUT", "report", chunks("report", 3))).toEqual({
    ids: ids.slice(0, 3),
    total: 3,
  });
  expect(await call("GET", "report")).toEqual({ ids: ids.slice(0, 3), total: 3 });
  expect(await call("DELETE", "report")).toEqual({ ids: [], total: 0 });
});

test("an embedding of another size is refused, and nothing is written", async () => {
  expect(await call("PUT", "report", chunks("report", 1, 3_072))).toEqual({
    error: expect.stringContaining(`3072 values, the store takes ${RULES.dimensions}`),
  });
  expect(await call("GET", "report")).toEqual({ ids: [], total: 0 });
});

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildConfig, text } from "../../kit/config.ts";
import { type RunningWorker, startWorker } from "../../kit/runtime.ts";
import { type RunningSandbox, startSandbox } from "../../kit/sandbox.ts";
import type { ShimOrders, ShimState } from "../../kit/shim.ts";

const ECHO = join(import.meta.dirname, "echo.ts");
let sandbox: RunningSandbox;
let worker: RunningWorker;

beforeAll(async () => {
  sandbox = await startSandbox("instant");
  await sandbox.call("POST", "/vectorize/v2/indexes", {
    name: "kit",
    config: { dimensions: 32, metric: "cosine" },
  });
  const namespace = await sandbox.call<{ id: string }>("POST", "/storage/kv/namespaces", {
    title: "kit",
  });
  worker = await startWorker(bound(namespace.id), sandbox.address);
});

afterAll(async () => {
  await worker?.stop();
  await sandbox?.stop();
});

function bound(namespace: string) {
  return {
    main: ECHO,
    vectorize: { VECTORIZE: "kit" },
    kv: { FILE_INDEX: namespace },
    vars: { WORD: 'größer "😀" \\x\n' },
  };
}

async function call(binding: string, method: string, ...args: unknown[]): Promise<unknown> {
  const answer = await fetch(worker.url, {
    method: "POST",
    body: JSON.stringify({ binding, method, args }),
  });
  return answer.json();
}

async function order(orders: ShimOrders): Promise<void> {
  await fetch(worker.controlUrl, { method: "PUT", body: JSON.stringify(orders) });
}

async function seen(): Promise<ShimState> {
  return (await fetch(worker.controlUrl)).json() as Promise<ShimState>;
}

function vector(id: string, length = 32) {
  return {
    id,
    values: Array.from({ length }, (_, at) => at + 0.1),
    metadata: { text: "größer 😀" },
  };
}

test("vectors are written, read and deleted through the runtime's own class", async () => {
  const written = await call("VECTORIZE", "upsert", [vector("a"), vector("b")]);
  expect(written).toMatchObject({ value: { mutationId: expect.any(String) } });

  const read = await call("VECTORIZE", "getByIds", ["a", "absent"]);
  const values = vector("a").values.map(Math.fround);
  expect(read).toEqual({ value: [{ id: "a", metadata: { text: "größer 😀" }, values }] });
  expect(await call("VECTORIZE", "describe")).toMatchObject({
    value: { dimensions: 32, vectorCount: 2 },
  });

  await call("VECTORIZE", "deleteByIds", ["a"]);
  expect(await call("VECTORIZE", "getByIds", ["a"])).toEqual({ value: [] });
});

test("the service's refusals reach the Worker as the binding words them", async () => {
  const ids = Array.from({ length: 21 }, (_, at) => `x${at}`);

  expect(await call("VECTORIZE", "getByIds", ids)).toEqual({
    error: expect.stringMatching(
      /^VECTOR_GET_ERROR \(code = 40007\): .*max id count is 20, got 21/,
    ),
  });
  expect(await call("VECTORIZE", "upsert", [vector("a", 31)])).toEqual({
    error: expect.stringMatching(/^VECTOR_UPSERT_ERROR \(code = 40012\): .*expected 32 dimensions/),
  });
});

test("a binding takes 1,000 vectors, and no more", async () => {
  const many = Array.from({ length: 1001 }, (_, at) => vector(`m${at}`));

  expect(await call("VECTORIZE", "upsert", many.slice(1))).toHaveProperty("value.mutationId");
  expect(await call("VECTORIZE", "upsert", many)).toEqual({
    error: expect.stringContaining("max is 1000, got 1001"),
  });
});

test("KV keys of every form are written, read, listed and deleted", async () => {
  for (const key of ["file:a", "file:a/b", "file:größer 😀%", "?&=#"]) {
    await call("FILE_INDEX", "put", key, `value of ${key}`, { metadata: { n: 1 } });
    expect(await call("FILE_INDEX", "get", key)).toEqual({ value: `value of ${key}` });
  }
  expect(await call("FILE_INDEX", "getWithMetadata", "file:a")).toMatchObject({
    value: { value: "value of file:a", metadata: { n: 1 } },
  });
  expect(await call("FILE_INDEX", "list", { prefix: "file:a" })).toMatchObject({
    value: {
      keys: [{ name: "file:a", metadata: { n: 1 } }, { name: "file:a/b" }],
      list_complete: true,
    },
  });
  await call("FILE_INDEX", "delete", "file:a");
  expect(await call("FILE_INDEX", "get", "file:a")).toEqual({ value: null });
});

test("an expiry reaches the service, and one below a minute is refused", async () => {
  await call("FILE_INDEX", "put", "short", "x", { expirationTtl: 60 });

  const { value } = (await call("FILE_INDEX", "list", { prefix: "short" })) as {
    value: { keys: { expiration: number }[] };
  };
  expect(value.keys[0]?.expiration).toBeGreaterThan(Date.now() / 1000 + 30);
  expect(await call("FILE_INDEX", "put", "short", "x", { expirationTtl: 59 })).toHaveProperty(
    "error",
  );
});

test("variables reach the Worker byte for byte", async () => {
  expect(await call("WORD", "")).toEqual({ value: 'größer "😀" \\x\n' });
  expect(text('ö"\\\n')).toBe('"\\xc3\\xb6\\x22\\x5c\\x0a"');
});

test("the subrequests of a call are counted, and those after a number are cut", async () => {
  await order({ cut: "refuse", after: 1 });
  await call("FILE_INDEX", "put", "counted", "1");
  expect(await call("FILE_INDEX", "put", "counted", "2")).toHaveProperty("error");
  const { seen: arrived } = await seen();
  expect(arrived.map(({ operation, key }) => [operation, key])).toEqual([
    ["PUT", "counted"],
    ["PUT", "counted"],
  ]);

  await order({});
  expect(await call("FILE_INDEX", "get", "counted")).toEqual({ value: "1" });
});

test("a subrequest is sent and its answer lost", async () => {
  await order({ cut: "lose", after: 0 });
  expect(await call("FILE_INDEX", "put", "lost", "1")).toHaveProperty("error");
  await order({});

  expect(await call("FILE_INDEX", "get", "lost")).toEqual({ value: "1" });
});

test("a Worker reaches nothing but its bindings", () => {
  const config = buildConfig(bound("n"), sandbox.address, { workerFile: "w", shimFile: "s" });

  expect(config.match(/allow = \[[^\]]*\]/g)).toEqual(["allow = []", "allow = []"]);
  expect(config.match(/address = "[^"]*"/g)?.every((one) => one.includes("127.0.0.1:"))).toBe(true);
});

test("the launcher ends its runtime when its stdin is closed", async () => {
  const launcher = spawn(process.execPath, ["kit/serve.ts"], {
    cwd: join(import.meta.dirname, "..", ".."),
    stdio: ["pipe", "pipe", "inherit"],
  });
  launcher.stdin.write(`${JSON.stringify({ worker: bound("n"), sandbox: sandbox.address })}\n`);
  const line = await new Promise<string>((resolve) =>
    createInterface({ input: launcher.stdout }).once("line", resolve),
  );
  const { url, pid } = JSON.parse(line) as { url: string; pid: number };
  const answer = await fetch(url, {
    method: "POST",
    body: JSON.stringify({ binding: "WORD", method: "", args: [] }),
  });
  expect(answer.status).toBe(200);

  const ended = new Promise((resolve) => launcher.once("exit", resolve));
  launcher.stdin.end();
  expect(await ended).toBe(0);
  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});

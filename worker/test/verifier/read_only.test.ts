import { createHmac } from "node:crypto";
import { resolve } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { SIGNATURE_HEADER } from "../../src/verifier/signature.ts";
import worker, { type Env } from "../../src/verifier/worker.ts";
import { KEY, question, signed } from "./signed.ts";

/** A binding that notes which of its members are reached, and has none but the two of a reader. */
function recording(reached: Set<string>): Env {
  const members: Record<string, unknown> = {
    describe: async () => ({ dimensions: 3, vectorCount: 1, processedUpToMutation: "m" }),
    getByIds: async (ids: string[]) => ids.map((id) => ({ id, values: [1, 0, 0] })),
  };
  const binding = new Proxy(members, {
    get(target, name) {
      reached.add(String(name));
      if (!(name in target)) throw new Error(`the verifier reached ${String(name)}`);
      return target[name as string];
    },
  });
  const bound = { VECTORIZE_INDEX: binding };
  return { ...bound, VECTORIZE_INDEXES: { "wiki-0": "VECTORIZE_INDEX" }, Q2V_VERIFIER_KEY: KEY };
}

const VERIFY = "/v2/verify/wiki-0";
/** Paths of earlier versions, of writes, and with names that no index has. */
const OTHER_PATHS = ["/v1/verify", "/v2/verify", "/v2/verify/", `${VERIFY}/`, "/v2/verify/a%20b"];

test("no request reaches another method of the binding than describe and getByIds", async () => {
  const reached = new Set<string>();
  const env = recording(reached);

  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    for (const path of ["/ready", VERIFY, ...OTHER_PATHS, "/v2/upsert/wiki-0", "/"]) {
      await worker.fetch(signed(method, path, question(["a", "b"])), env);
    }
  }

  expect([...reached].sort()).toEqual(["describe", "getByIds"]);
});

test("the bundle holds the name of no method that writes or searches", async () => {
  const built = await build({
    entryPoints: [resolve(import.meta.dirname, "../../src/verifier/worker.ts")],
    bundle: true,
    write: false,
    format: "esm",
    external: ["node:*"],
  });
  const text = built.outputFiles[0]?.text ?? "";

  expect(text).toContain("getByIds");
  for (const name of ["upsert", "insert", "deleteByIds", "delete(", "query", "fetch("]) {
    // Its own handler is the one `fetch(`; nothing is sent to another address.
    const allowed = name === "fetch(" ? 1 : 0;
    expect(text.split(name).length - 1, name).toBe(allowed);
  }
});

test("an answer is signed for its request alone", async () => {
  const request = signed("POST", VERIFY, question(["a"]));
  const answer = await worker.fetch(request, recording(new Set()));
  const body = await answer.text();
  const head = `q2v answer 1\n${request.headers.get(SIGNATURE_HEADER)}\n200\n`;

  expect(answer.status).toBe(200);
  expect(answer.headers.get(SIGNATURE_HEADER)).toBe(
    createHmac("sha256", KEY).update(head).update(body).digest("hex"),
  );
});

test("what is not a good request gets 404 and reaches nothing", async () => {
  const reached = new Set<string>();
  const env = recording(reached);
  const body = question(["a"]);
  const now = Date.now() / 1000;
  const changed = new Request(signed("POST", VERIFY, body), { body: question(["b"]) });
  const moved = new Request(
    "https://verifier.example/v2/verify/wiki-1",
    signed("POST", VERIFY, body),
  );
  const bad: Request[] = [
    new Request("https://verifier.example/ready"),
    new Request(`https://verifier.example${VERIFY}`, { method: "POST", body: "x" }),
    signed("GET", "/ready", undefined, { key: "another key of thirty-two characters" }),
    signed("GET", "/ready", undefined, { time: now - 125 }),
    signed("GET", "/ready", undefined, { time: now + 125 }),
    signed("GET", "/ready?x"),
    signed("GET", VERIFY),
    ...OTHER_PATHS.map((path) => signed("POST", path, body)),
    signed("POST", "/ready"),
    signed("POST", VERIFY),
    signed("POST", VERIFY, body.subarray(0, -1)),
    signed("POST", VERIFY, question(["a", "a"])),
    signed("POST", VERIFY, question(["a".repeat(65)])),
    signed("POST", VERIFY, question([""])),
    signed("POST", VERIFY, new Uint8Array([1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])),
    signed("POST", VERIFY, question(Array.from({ length: 2001 }, (_, at) => `${at}`))),
    signed("POST", VERIFY, new Uint8Array(146_001)),
    changed,
    moved,
  ];

  for (const [at, request] of bad.entries()) {
    const answer = await worker.fetch(request, env);
    expect([at, answer.status, await answer.text()]).toEqual([at, 404, ""]);
  }
  for (const key of ["", "short"]) {
    const answer = await worker.fetch(signed("GET", "/ready"), { ...env, Q2V_VERIFIER_KEY: key });
    expect(answer.status).toBe(404);
  }
  expect([...reached]).toEqual([]);
});

/** A binding that answers with its number of dimensions, and cannot be described where that is 0. */
function index(dimensions: number): unknown {
  return {
    describe: async () => {
      if (dimensions === 0) throw new Error("INDEX_GET_ERROR (code = 3000): not found");
      return { dimensions, vectorCount: 1, processedUpToMutation: `mutation-${dimensions}` };
    },
    getByIds: async (ids: string[]) => ids.map((id) => ({ id, values: [dimensions] })),
  };
}

async function answered(request: Request, env: object): Promise<[number, unknown]> {
  const answer = await worker.fetch(request, { ...env, Q2V_VERIFIER_KEY: KEY } as Env);
  return [answer.status, await answer.json()];
}

test("a question reaches the index that it names, and /ready has each", async () => {
  const names = { "wiki-0": "FIRST", "wiki-1": "SECOND", "wiki-2": "THIRD" };
  const env = { FIRST: index(3), SECOND: index(4), THIRD: index(0), VECTORIZE_INDEXES: names };
  const ask = async (name: string) =>
    (await answered(signed("POST", `/v2/verify/${name}`, question(["a"])), env))[1];

  expect(await answered(signed("GET", "/ready"), env)).toEqual([
    200,
    {
      service: "q2v verifier",
      protocol: 2,
      vectors_max: 2000,
      body_bytes_max: 146_000,
      indexes: {
        "wiki-0": { dimensions: 3, vector_count: 1, processed_mutation: "mutation-3" },
        "wiki-1": { dimensions: 4, vector_count: 1, processed_mutation: "mutation-4" },
        "wiki-2": { error: "INDEX_GET_ERROR (code = 3000): not found" },
      },
    },
  ]);
  const [first, second] = [await ask("wiki-0"), await ask("wiki-1")];
  expect(first).toMatchObject({ read: 1, missing: [] });
  expect(second).toMatchObject({ read: 1, missing: [] });
  expect(first).not.toEqual(second);
});

test.each([
  [{ "wiki-0": "FIRST" }, "wiki-1", "found no index 'wiki-1' among wiki-0"],
  [
    { "wiki-0": "OTHER" },
    "wiki-0",
    "found 'OTHER' for index 'wiki-0', which is no Vectorize binding",
  ],
  [{ "wiki-0": "Q2V_VERIFIER_KEY" }, "wiki-0", "which is no Vectorize binding"],
  [{ "wiki-0": null }, "wiki-0", "which is no Vectorize binding"],
  [{}, "wiki-0", "found no object of index name to binding name"],
  [undefined, "wiki-0", "found no object of index name to binding name"],
  ["wiki-0", "wiki-0", "found no object of index name to binding name"],
])(
  "with VECTORIZE_INDEXES %j a question to %s is answered with what is wrong",
  async (names, name, what) => {
    const env = { FIRST: index(3), VECTORIZE_INDEXES: names };
    const request = signed("POST", `/v2/verify/${name}`, question(["a"]));

    expect(await answered(request, env)).toEqual([
      503,
      { error: "configuration", what: expect.stringContaining(what) },
    ]);
  },
);

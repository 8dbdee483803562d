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
  return { VECTORIZE_INDEX: binding as unknown as Vectorize, Q2V_VERIFIER_KEY: KEY };
}

test("no request reaches another method of the binding than describe and getByIds", async () => {
  const reached = new Set<string>();
  const env = recording(reached);

  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    for (const path of ["/ready", "/v1/verify", "/v1/upsert", "/v1/deleteByIds", "/"]) {
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
  const request = signed("POST", "/v1/verify", question(["a"]));
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
  const changed = new Request(signed("POST", "/v1/verify", body), { body: question(["b"]) });
  const bad: Request[] = [
    new Request("https://verifier.example/ready"),
    new Request("https://verifier.example/v1/verify", { method: "POST", body: "x" }),
    signed("GET", "/ready", undefined, { key: "another key of thirty-two characters" }),
    signed("GET", "/ready", undefined, { time: now - 125 }),
    signed("GET", "/ready", undefined, { time: now + 125 }),
    signed("GET", "/ready?x"),
    signed("GET", "/v1/verify"),
    signed("POST", "/ready"),
    signed("POST", "/v1/verify"),
    signed("POST", "/v1/verify", body.subarray(0, -1)),
    signed("POST", "/v1/verify", question(["a", "a"])),
    signed("POST", "/v1/verify", question(["a".repeat(65)])),
    signed("POST", "/v1/verify", question([""])),
    signed("POST", "/v1/verify", new Uint8Array([1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])),
    signed("POST", "/v1/verify", question(Array.from({ length: 2001 }, (_, at) => `${at}`))),
    signed("POST", "/v1/verify", new Uint8Array(146_001)),
    changed,
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

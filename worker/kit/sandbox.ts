/** The sandbox of q2v for tests in TypeScript: started for a test, and ended with it. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { SandboxAddress } from "./config.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** A sandbox that runs, with calls of its REST interface. */
export interface RunningSandbox {
  readonly address: SandboxAddress;
  /** One call below the account; the `result` of its answer. Rejects with the errors of another one. */
  call<Result>(method: string, path: string, body?: unknown): Promise<Result>;
  stop(): Promise<void>;
}

/** Start a sandbox with a folder of its own and no budget of requests, which a binding has not. */
export async function startSandbox(
  profile: "instant" | "strict",
  fault = "",
): Promise<RunningSandbox> {
  const folder = await mkdtemp(join(tmpdir(), "q2v-sandbox-"));
  const options = ["sandbox", "--profile", profile, "--state", folder];
  if (fault !== "") {
    options.push("--fault", fault);
  }
  const child = spawn(program(), [...options, "--requests-per-5min", "1000000000"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const kill = (): boolean => child.kill("SIGKILL"); // all it holds is below `folder`
  process.once("exit", kill);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`q2v sandbox ended with ${code}`)));
  });
  const address = JSON.parse(line) as SandboxAddress;
  return {
    address,
    call: (method, path, body) => call(address, method, path, body),
    stop: async () => {
      kill();
      await ended;
      process.off("exit", kill);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** q2v of the variable Q2V, of the clone that holds this folder, or of the PATH. */
function program(): string {
  const { Q2V: named } = process.env;
  const inClone = join(ROOT, ".venv", "bin", "q2v");
  return named ?? (existsSync(inClone) ? inClone : "q2v");
}

async function call<Result>(
  address: SandboxAddress,
  method: string,
  path: string,
  body: unknown,
): Promise<Result> {
  const answer = await fetch(`${address.base_url}/accounts/${address.account_id}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${address.api_token}`,
      "content-type": "application/json",
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const envelope = (await answer.json()) as { success: boolean; result: Result; errors: unknown };
  if (!envelope.success) {
    throw new Error(`${method} ${path}: ${JSON.stringify(envelope.errors)}`);
  }
  return envelope.result;
}

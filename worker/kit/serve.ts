/**
 * The launcher for other languages: `node kit/serve.ts`.
 *
 * Reads one line of JSON from stdin, `{"worker": ..., "sandbox": ...}` as in config.ts. Prints one line
 * of JSON, `{"url": ..., "control_url": ..., "pid": ...}`, and runs until stdin is closed.
 */

import { createInterface } from "node:readline";
import type { SandboxAddress, WorkerUnderTest } from "./config.ts";
import { startWorker } from "./runtime.ts";

const lines = createInterface({ input: process.stdin });
const closed = new Promise<void>((resolve) => lines.once("close", resolve));
const first = await new Promise<string>((resolve) => {
  lines.once("line", resolve);
  lines.once("close", () => resolve(""));
});
if (first !== "") {
  const { worker, sandbox } = JSON.parse(first) as {
    worker: WorkerUnderTest;
    sandbox: SandboxAddress;
  };
  const running = await startWorker(worker, sandbox);
  const { url, controlUrl, pid } = running;
  process.stdout.write(`${JSON.stringify({ url, control_url: controlUrl, pid })}\n`);
  await closed;
  await running.stop();
}

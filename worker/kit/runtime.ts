/** Runs a Worker in the real `workerd`, in front of the sandbox. Loopback only. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { buildConfig, type SandboxAddress, type WorkerUnderTest } from "./config.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const START_TIMEOUT_MS = 60_000; // a start takes half a second, on a busy machine many more

/** A Worker that runs. */
export interface RunningWorker {
  /** Address of the Worker, `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** Address of the shim's control: `PUT` gives orders, `GET` shows what arrived. */
  readonly controlUrl: string;
  readonly pid: number;
  /** End the runtime and remove its files. May be called twice. */
  stop(): Promise<void>;
}

/** Bundle a Worker and start it. `log` takes what the runtime writes, the Worker's console included. */
export async function startWorker(
  worker: WorkerUnderTest,
  sandbox: SandboxAddress,
  log: (text: string) => void = (text) => process.stderr.write(text),
): Promise<RunningWorker> {
  const folder = await mkdtemp(join(tmpdir(), "q2v-worker-"));
  let runtime: ChildProcess | undefined;
  const kill = (): boolean => runtime?.kill("SIGKILL") ?? false;
  process.once("exit", kill);
  const stop = async (): Promise<void> => {
    if (runtime !== undefined) {
      await end(runtime);
    }
    process.off("exit", kill);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await bundle(worker.main, join(folder, "worker.mjs"));
    await bundle(join(HERE, "shim.ts"), join(folder, "shim.mjs"));
    const files = { workerFile: "worker.mjs", shimFile: "shim.mjs" };
    const config = join(folder, "config.capnp");
    await writeFile(config, buildConfig(worker, sandbox, files));
    runtime = spawn(program(), ["serve", "--experimental", "--control-fd=3", config], {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    const ports = await listen(runtime, log);
    return {
      url: `http://127.0.0.1:${ports.worker}`,
      controlUrl: `http://127.0.0.1:${ports.control}`,
      pid: runtime.pid ?? 0,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One module with everything in it, except what the runtime itself holds. */
export async function bundle(main: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [main],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "silent",
  });
}

/** The runtime's program, without the launcher script around it. */
function program(): string {
  const here = createRequire(import.meta.url);
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const architecture = process.arch === "x64" ? "64" : process.arch;
  return here.resolve(`@cloudflare/workerd-${platform}-${architecture}/bin/workerd`);
}

interface Ports {
  worker: number;
  control: number;
}

/** Wait until all sockets listen. Rejects with what the runtime wrote if it ends before that. */
function listen(runtime: ChildProcess, log: (text: string) => void): Promise<Ports> {
  return new Promise((resolve, reject) => {
    let written = "";
    const note = (chunk: Buffer): void => {
      written += chunk.toString();
      log(chunk.toString());
    };
    runtime.stdout?.on("data", note);
    runtime.stderr?.on("data", note);
    const timer = setTimeout(
      () => reject(new Error(`workerd did not listen within ${START_TIMEOUT_MS} ms: ${written}`)),
      START_TIMEOUT_MS,
    );
    const ports: Partial<Ports> = {};
    let rest = "";
    (runtime.stdio[3] as Readable).on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = JSON.parse(line) as { event: string; socket: keyof Ports; port: number };
        if (message.event === "listen") {
          ports[message.socket] = message.port;
        }
      }
      if (ports.worker !== undefined && ports.control !== undefined) {
        clearTimeout(timer);
        resolve({ worker: ports.worker, control: ports.control });
      }
    });
    runtime.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`workerd ended with ${code}: ${written}`));
    });
    runtime.once("error", reject);
  });
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    child.kill("SIGKILL"); // it holds nothing that has to be written
  });
}

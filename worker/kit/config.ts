/** The configuration of `workerd`: the Worker, its bindings, and the shim behind them. Pure. */

/** A Worker to run, and what it is bound to. */
export interface WorkerUnderTest {
  /** The module that exports the handlers: TypeScript or JavaScript. */
  readonly main: string;
  readonly compatibilityDate?: string;
  readonly compatibilityFlags?: readonly string[];
  /** Name of the binding -> name of the vector index. */
  readonly vectorize?: Readonly<Record<string, string>>;
  /** Name of the binding -> id of the KV namespace. */
  readonly kv?: Readonly<Record<string, string>>;
  /** Variables and secrets: texts, or what JSON can hold. */
  readonly vars?: Readonly<Record<string, unknown>>;
  /** Flags of V8, such as `--max-heap-size=64`. */
  readonly v8Flags?: readonly string[];
}

/** The line that `q2v sandbox` prints. */
export interface SandboxAddress {
  readonly base_url: string;
  readonly account_id: string;
  readonly api_token: string;
}

/** What the shim reads beside the requests themselves. */
export interface ShimAddress {
  /** Prefix of all paths, `/client/v4/accounts/<id>`. */
  readonly path: string;
  readonly token: string;
}

export const COMPATIBILITY_DATE = "2026-11-01";

/**
 * The text of a configuration file. `workerFile` and `shimFile` lie beside it.
 *
 * The Vectorize binding is the runtime's own class, as the service deploys it. Nothing but the shim
 * reaches the network, and the shim reaches the sandbox only.
 */
export function buildConfig(
  worker: WorkerUnderTest,
  sandbox: SandboxAddress,
  files: { readonly workerFile: string; readonly shimFile: string },
): string {
  const base = new URL(sandbox.base_url);
  const shim: ShimAddress = {
    path: `${base.pathname}/accounts/${sandbox.account_id}`,
    token: sandbox.api_token,
  };
  const date = text(worker.compatibilityDate ?? COMPATIBILITY_DATE);
  const flags = (worker.compatibilityFlags ?? []).map(text).join(", ");
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [${(worker.v8Flags ?? []).map(text).join(", ")}],
  services = [
    (name = "worker", worker = (
      compatibilityDate = ${date},
      compatibilityFlags = [${flags}],
      modules = [(name = "worker.mjs", esModule = embed ${text(files.workerFile)})],
      bindings = [${bindingsOf(worker).join(", ")}],
      globalOutbound = "nothing")),
    (name = "shim", worker = (
      compatibilityDate = ${text(COMPATIBILITY_DATE)},
      modules = [(name = "shim.mjs", esModule = embed ${text(files.shimFile)})],
      bindings = [(name = "SANDBOX", service = "sandbox"), (name = "ADDRESS", json = ${text(JSON.stringify(shim))})],
      globalOutbound = "nothing")),
    (name = "sandbox", external = (address = ${text(base.host)}, http = ())),
    (name = "nothing", network = (allow = [])),
    (name = "internet", network = (allow = []))
  ],
  sockets = [
    (name = "worker", address = "127.0.0.1:0", http = (), service = "worker"),
    (name = "control", address = "127.0.0.1:0", http = (), service = (name = "shim", entrypoint = "Control"))
  ]
);
`;
}

function bindingsOf(worker: WorkerUnderTest): string[] {
  const vectorize = Object.entries(worker.vectorize ?? {}).map(
    ([name, index]) => `(name = ${text(name)}, wrapped = (
        moduleName = "cloudflare-internal:vectorize-api",
        innerBindings = [
          (name = "fetcher", service = ${shimFor("Vectorize", name, index)}),
          (name = "indexId", text = ${text(index)}),
          (name = "indexVersion", text = "v2"),
          (name = "useNdJson", json = "true")]))`,
  );
  const kv = Object.entries(worker.kv ?? {}).map(
    ([name, id]) => `(name = ${text(name)}, kvNamespace = ${shimFor("Kv", name, id)})`,
  );
  const vars = Object.entries(worker.vars ?? {}).map(([name, value]) =>
    typeof value === "string"
      ? `(name = ${text(name)}, text = ${text(value)})`
      : `(name = ${text(name)}, json = ${text(JSON.stringify(value))})`,
  );
  return [...vectorize, ...kv, ...vars];
}

function shimFor(entrypoint: string, binding: string, target: string): string {
  const props = text(JSON.stringify({ binding, target }));
  return `(name = "shim", entrypoint = ${text(entrypoint)}, props = (json = ${props}))`;
}

/** A text literal of Cap'n Proto: bytes outside printable ASCII as escapes. */
export function text(value: string): string {
  let literal = "";
  for (const byte of new TextEncoder().encode(value)) {
    const char = String.fromCharCode(byte);
    const plain = byte >= 0x20 && byte < 0x7f && char !== '"' && char !== "\\";
    literal += plain ? char : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `"${literal}"`;
}

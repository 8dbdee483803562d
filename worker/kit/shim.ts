/**
 * The services behind the bindings: a Worker that turns what the bindings send into REST calls of
 * the sandbox, and that can be told to stop answering after a number of subrequests.
 *
 * It runs in one isolate beside the Worker under test, so its state is that of one test at a time.
 */

import { WorkerEntrypoint } from "cloudflare:workers";
import type { ShimAddress } from "./config.ts";

interface Env {
  readonly SANDBOX: Fetcher;
  readonly ADDRESS: ShimAddress;
}

interface Props {
  readonly binding: string;
  readonly target: string;
}

/** What happens to the subrequests after the first `after`. */
export type Cut =
  /** All fail without being sent: the invocation has used up its subrequests. */
  | "refuse"
  /** None is sent or answered: the invocation is killed while it waits. */
  | "hold"
  /** The next one waits until the control says so, and is then sent; the others pass. */
  | "pause"
  /** The next one is sent and its answer lost; the others pass. */
  | "lose";

/** One subrequest that arrived, in the order of arrival. */
export interface Subrequest {
  readonly binding: string;
  /** As the binding names it: `upsert`, `getByIds`, `deleteByIds`, `info`, `query`; `GET`, `PUT`, `DELETE`. */
  readonly operation: string;
  /** Key of KV, else empty. */
  readonly key: string;
  readonly bytes: number;
}

/** State of the shim, as `GET` of the control answers it. */
export interface ShimState {
  readonly seen: readonly Subrequest[];
  /** Subrequests that were held since the orders were given. */
  readonly waiting: number;
}

/** What `PUT` of the control sets; what is left out is as at the start. */
export interface ShimOrders {
  /** Name of a binding -> index or namespace that it means from now on. */
  readonly targets?: Readonly<Record<string, string>>;
  readonly cut?: Cut;
  readonly after?: number;
}

const state = { seen: [] as Subrequest[], waiting: 0, orders: {} as ShimOrders, round: 0 };

const POLL_MS = 2;
const REFUSED = "Too many subrequests by single Worker invocation.";

/** Vectorize: what `cloudflare-internal:vectorize-api` sends, with the answers it expects. */
export class Vectorize extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const operation = new URL(request.url).pathname.slice(1);
    const rest = REST_OF[operation];
    if (rest === undefined) {
      return refuse(404, 1000, `the kit knows no operation ${operation}`);
    }
    const body = await request.text();
    const vectors = Number(request.headers.get("cf-vector-search-dim-height") ?? "0");
    return arrive(this.ctx, operation, "", body.length, async (target) => {
      if (vectors > UPSERT_MAX) {
        return refuse(
          400,
          40004,
          `too many vectors in payload; max is ${UPSERT_MAX}, got ${vectors}`,
        );
      }
      const path = `/vectorize/v2/indexes/${target}/${rest}`;
      return fromEnvelope(await send(this.env, request.method, path, request.headers, body));
    });
  }
}

const UPSERT_MAX = 1_000; // through a binding; 5,000 over REST
const REST_OF: Readonly<Record<string, string>> = {
  info: "info",
  query: "query",
  insert: "insert?unparsable-behavior=error",
  upsert: "upsert?unparsable-behavior=error",
  getByIds: "get_by_ids",
  deleteByIds: "delete_by_ids",
};

/** KV: what the runtime's KV namespace sends. Values are texts. */
export class Kv extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const key = decodeURIComponent(url.pathname.slice(1));
    const body = await request.text();
    const bulk = request.method === "POST" && key === "bulk/get";
    const operation = bulk ? "bulk" : key === "" ? "list" : request.method;
    return arrive(this.ctx, operation, key, body.length, (target) => {
      const path = `/storage/kv/namespaces/${target}`;
      switch (operation) {
        case "bulk":
          return readMany(this.env, path, body);
        case "list":
          return list(this.env, path, url.searchParams);
        case "GET":
          return read(this.env, path, key);
        default:
          return write(this.env, path, key, request, body);
      }
    });
  }
}

/** Orders of a test, and what arrived; `held-within-ms` waits as long until a subrequest is held. */
export class Control extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    if (request.method === "PUT") {
      state.orders = await request.json<ShimOrders>();
      state.seen = [];
      state.waiting = 0;
      state.round += 1;
    }
    const round = state.round;
    const waitMs = Number(new URL(request.url).searchParams.get("held-within-ms") ?? "0");
    for (let passed = 0; passed < waitMs; passed += POLL_MS) {
      if (state.waiting > 0 || state.round !== round) {
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const answer: ShimState = { seen: state.seen, waiting: state.waiting };
    return Response.json(answer);
  }
}

/** Count a subrequest, do with it what the orders say, or else send it. */
async function arrive(
  context: unknown,
  operation: string,
  key: string,
  bytes: number,
  forward: (target: string) => Promise<Response>,
): Promise<Response> {
  const { binding, target } = (context as { props: Props }).props;
  const ordinal = state.seen.length;
  const { cut, after = 0, targets } = state.orders;
  state.seen.push({ binding, operation, key, bytes });
  const bound = targets?.[binding] ?? target;
  if (cut === undefined || ordinal < after) {
    return forward(bound);
  }
  const isFirst = ordinal === after;
  switch (cut) {
    case "refuse":
      throw new Error(REFUSED);
    case "hold":
      await untilNextOrders();
      throw new Error(REFUSED);
    case "pause":
      if (isFirst) {
        await untilNextOrders();
      }
      return forward(bound);
    case "lose": {
      const answer = await forward(bound);
      return isFirst ? new Response("<html>lost</html>", { status: 504 }) : answer;
    }
  }
}

async function untilNextOrders(): Promise<void> {
  const round = state.round;
  state.waiting += 1;
  while (state.round === round) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function send(
  env: Env,
  method: string,
  path: string,
  headers: Headers,
  body: string | undefined,
): Promise<Response> {
  const sent = new Headers({ authorization: `Bearer ${env.ADDRESS.token}` });
  const type = headers.get("content-type");
  if (type !== null) {
    sent.set("content-type", type);
  }
  const hasBody = method !== "GET" && body !== undefined;
  return env.SANDBOX.fetch(`http://sandbox${env.ADDRESS.path}${path}`, {
    method,
    headers: sent,
    ...(hasBody ? { body } : {}),
  });
}

/** The binding gets `result` alone, or `{code, error}`; a page of the edge as it is. */
async function fromEnvelope(answer: Response): Promise<Response> {
  const body = await answer.text();
  let envelope: {
    success?: boolean;
    result?: unknown;
    errors?: { code: number; message: string }[];
  };
  try {
    envelope = JSON.parse(body);
  } catch {
    return new Response(body, { status: answer.status === 200 ? 502 : answer.status });
  }
  if (envelope.success === true) {
    return Response.json(envelope.result);
  }
  const error = envelope.errors?.[0] ?? { code: 0, message: "no error given" };
  const message = error.message.replace(/^vectorize\.upstream_error - /, "");
  return refuse(answer.status === 200 ? 400 : answer.status, error.code, message);
}

function refuse(status: number, code: number, error: string): Response {
  return Response.json({ code, error }, { status });
}

const JSON_HEADERS = new Headers({ "content-type": "application/json" });

async function read(env: Env, path: string, key: string): Promise<Response> {
  const body = JSON.stringify({ keys: [key], type: "text", withMetadata: true });
  const answer = await send(env, "POST", `${path}/bulk/get`, JSON_HEADERS, body);
  if (answer.status !== 200) {
    return new Response(await answer.text(), { status: answer.status });
  }
  const { result } = await answer.json<{ result: { values: Record<string, KvValue | null> } }>();
  const found = result.values[key] ?? null;
  if (found === null) {
    return new Response("Not Found", { status: 404 });
  }
  const headers = new Headers();
  if (found.metadata !== null) {
    headers.set("CF-KV-Metadata", JSON.stringify(found.metadata));
  }
  return new Response(found.value, { headers });
}

interface KvValue {
  readonly value: string;
  readonly metadata: unknown;
  readonly expiration?: number;
}

async function readMany(env: Env, path: string, body: string): Promise<Response> {
  const asked = JSON.parse(body) as { keys: string[]; type?: string; withMetadata?: boolean };
  const { keys, type = "text", withMetadata = false } = asked;
  const sent = JSON.stringify({ keys, type, withMetadata });
  const answer = await send(env, "POST", `${path}/bulk/get`, JSON_HEADERS, sent);
  const got = await answer.text();
  if (answer.status !== 200) {
    return new Response(got, { status: answer.status });
  }
  return Response.json((JSON.parse(got) as { result: { values: unknown } }).result.values);
}

async function write(
  env: Env,
  path: string,
  key: string,
  request: Request,
  body: string,
): Promise<Response> {
  const given = new URL(request.url).searchParams;
  const query = new URLSearchParams();
  for (const name of ["expiration", "expiration_ttl"]) {
    const value = given.get(name);
    if (value !== null) {
      query.set(name, value);
    }
  }
  const url = `${path}/values/${encodeURIComponent(key)}?${query}`;
  const metadata = request.headers.get("CF-KV-Metadata");
  let headers = new Headers({ "content-type": "application/octet-stream" });
  let sent = body;
  if (metadata !== null) {
    const form = new FormData();
    form.set("value", body);
    form.set("metadata", metadata);
    const encoded = new Response(form);
    headers = new Headers({ "content-type": encoded.headers.get("content-type") ?? "" });
    sent = await encoded.text();
  }
  const answer = await send(env, request.method, url, headers, sent);
  return new Response(answer.status === 200 ? null : await answer.text(), {
    status: answer.status,
  });
}

async function list(env: Env, path: string, asked: URLSearchParams): Promise<Response> {
  const query = new URLSearchParams();
  const limit = Number(asked.get("key_count_limit") ?? "1000");
  query.set("limit", String(Math.max(limit, 10))); // the least that REST takes
  for (const name of ["prefix", "cursor"]) {
    const value = asked.get(name);
    if (value !== null && value !== "") {
      query.set(name, value);
    }
  }
  const answer = await send(env, "GET", `${path}/keys?${query}`, new Headers(), undefined);
  if (answer.status !== 200) {
    return new Response(await answer.text(), { status: answer.status });
  }
  const page = await answer.json<{
    result: { name: string; expiration?: number; metadata?: unknown }[];
    result_info: { cursor?: string };
  }>();
  const keys = page.result.map(({ metadata, ...key }) =>
    metadata == null ? key : { ...key, metadata: JSON.stringify(metadata) },
  );
  const cursor = page.result_info.cursor ?? "";
  return Response.json(
    cursor === "" ? { keys, list_complete: true } : { keys, list_complete: false, cursor },
  );
}

export default {
  fetch: () => new Response("name an entrypoint", { status: 500 }),
} satisfies ExportedHandler<Env>;

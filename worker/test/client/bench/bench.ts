/** Stores in real `workerd` in front of the sandbox, and what is behind them. */

import { join } from "node:path";
import { type RunningWorker, startWorker } from "../../../kit/runtime";
import { type RunningSandbox, startSandbox } from "../../../kit/sandbox";
import type { ShimOrders, ShimState, Subrequest } from "../../../kit/shim";
import type { VectorizeClientOptions } from "../../../src/client";
import { ranked } from "../../../src/client/indexes/placement";
import { byFile, CASES, type Chunk } from "./cases";
import { ask } from "./requests";
import type { Calls, Outcome } from "./worker";

/** What index and namespace hold, behind the client. */
export interface Held {
  readonly ids: string[];
  readonly entries: Record<string, unknown>;
  readonly counter: number | null;
  /** Key -> expiry in seconds since 1970. */
  readonly expirations: Record<string, number>;
}

/** What one index of several holds, and what KV says about it. */
export interface Part {
  readonly ids: readonly string[];
  readonly counter: number | null;
}

/** All that is behind a store at one time. */
export interface Shown {
  readonly held: Held;
  /** Key of KV -> its metadata, for those that have some. */
  readonly metadata: Record<string, unknown>;
  /** Index -> what it holds. */
  readonly parts: Record<string, Part>;
}

/** A call that was killed. */
export interface Killed {
  /** What it had made. */
  readonly made: readonly Subrequest[];
  /** The subrequest that was held. */
  readonly next: Subrequest | undefined;
}

interface KeyOfKv {
  readonly name: string;
  readonly expiration?: number;
  readonly metadata?: unknown;
}

function metadataOf(keys: readonly KeyOfKv[]): Record<string, unknown> {
  const some = keys.filter(({ metadata }) => metadata != null);
  return Object.fromEntries(some.map(({ name, metadata }) => [name, metadata]));
}

type Call = readonly [method: string, ...args: unknown[]];

/** An error of the store, as it left the Worker. */
export class CallError extends Error {
  readonly remedy: string;
  readonly kind: string;

  constructor(error: NonNullable<Outcome["error"]>) {
    super(error.message);
    this.kind = error.name;
    this.remedy = error.remedy;
  }
}

const HOUR_MS = 3_600_000;
const KEYS_MAX = 100; // of one request for values
const NAMESPACES_MAX = 900; // an account has 1,000
/** Of the Worker under test; a store of n indexes uses the first n. */
const BINDINGS = ["VECTORIZE_INDEX", "SECOND_INDEX", "THIRD_INDEX"] as const;

/** One sandbox and one runtime for a file of tests. */
export class Bench {
  readonly sandbox: RunningSandbox;
  readonly worker: RunningWorker;
  readonly #namespaces: string[] = [];
  #stores = 0;

  static async start(profile: "instant" | "strict" = "instant", fault = ""): Promise<Bench> {
    const sandbox = await startSandbox(profile, fault);
    try {
      const worker = await startWorker(
        {
          main: join(import.meta.dirname, "worker.ts"),
          vectorize: Object.fromEntries(BINDINGS.map((binding) => [binding, "none"])),
          kv: { FILE_VECTOR_INDEX: "none" },
        },
        sandbox.address,
        () => undefined,
      );
      return new Bench(sandbox, worker);
    } catch (error) {
      await sandbox.stop();
      throw error;
    }
  }

  private constructor(sandbox: RunningSandbox, worker: RunningWorker) {
    this.sandbox = sandbox;
    this.worker = worker;
  }

  async stop(): Promise<void> {
    await this.worker.stop();
    await this.sandbox.stop();
  }

  /**
   * A store on a new index and a new namespace; `indexes` is how many new indexes it gets, each with its name. One
   * store at a time is bound.
   */
  async store(options: Partial<VectorizeClientOptions> = {}, indexes = 0): Promise<Store> {
    this.#stores += 1;
    const title = `store-${this.#stores}`;
    const names =
      indexes === 0 ? [title] : Array.from({ length: indexes }, (_, at) => `${title}-${at}`);
    const { dimensions, metric } = CASES.rules;
    for (const name of names) {
      await this.call("POST", "/vectorize/v2/indexes", { name, config: { dimensions, metric } });
    }
    const namespaces = "/storage/kv/namespaces";
    if (this.#namespaces.length === NAMESPACES_MAX) {
      await this.call("DELETE", `${namespaces}/${this.#namespaces.shift()}`);
    }
    const { id } = await this.call<{ id: string }>("POST", namespaces, { title });
    this.#namespaces.push(id);
    const bound = new Map(names.map((name, at) => [name, BINDINGS[at] ?? ""]));
    const store = new Store(this, bound, indexes > 0, id, options);
    await store.order({});
    return store;
  }

  /** One call of the REST interface below the account; the `result` of its answer. Lines are sent as they are. */
  async call<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    const { base_url, account_id, api_token } = this.sandbox.address;
    const isLines = typeof body === "string";
    const text = await ask(`${base_url}/accounts/${account_id}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${api_token}`,
        "content-type": isLines ? "application/x-ndjson" : "application/json",
      },
      ...(body === undefined ? {} : { body: isLines ? body : JSON.stringify(body) }),
    });
    const envelope = JSON.parse(text) as { success: boolean; result: Result; errors: unknown };
    if (!envelope.success) {
      throw new Error(`${method} ${path}: ${JSON.stringify(envelope.errors)}`);
    }
    return envelope.result;
  }
}

/** A store, called through a Worker. Each call is an invocation with an object of its own. */
export class Store {
  readonly #bench: Bench;
  /** Index -> its binding. */
  readonly #bound: ReadonlyMap<string, string>;
  /** Whether it was opened with the names of its indexes. */
  readonly isNamed: boolean;
  readonly #namespace: string;
  readonly #options: VectorizeClientOptions;

  constructor(
    bench: Bench,
    bound: ReadonlyMap<string, string>,
    isNamed: boolean,
    namespace: string,
    options: Partial<VectorizeClientOptions>,
  ) {
    this.#bench = bench;
    this.#bound = bound;
    this.isNamed = isNamed;
    this.#namespace = namespace;
    const { id_template, key_template, counter_key, dimensions, metric } = CASES.rules;
    this.#options = {
      dimensions,
      metric,
      idTemplate: id_template,
      keyTemplate: key_template,
      counterKey: counter_key,
      retry: { pauseMs: 1, busyPauseMs: 20 },
      ...options,
    };
  }

  /** The indexes of the store. */
  get indexes(): string[] {
    return [...this.#bound.keys()];
  }

  /** One call. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.inOneInvocation([[method, ...args]]);
  }

  /** Calls of one object, one after the other; the value of the last. */
  async inOneInvocation(calls: readonly Call[], signal?: AbortSignal): Promise<unknown> {
    const named = this.isNamed ? { vectorize: Object.fromEntries(this.#bound) } : {};
    const body: Calls = { options: this.#options, ...named, calls };
    const text = JSON.stringify(body);
    const answer = await ask(this.#bench.worker.url, { method: "POST", body: text, signal });
    const outcome = JSON.parse(answer) as Outcome;
    if (outcome.error !== undefined) {
      throw new CallError(outcome.error);
    }
    return outcome.value;
  }

  /** Give the shim orders; the subrequests are counted from here. */
  async order(orders: ShimOrders): Promise<void> {
    const indexes = [...this.#bound].map(([name, binding]) => [binding, name]);
    const targets = { ...Object.fromEntries(indexes), FILE_VECTOR_INDEX: this.#namespace };
    await ask(this.#bench.worker.controlUrl, {
      method: "PUT",
      body: JSON.stringify({ ...orders, targets: { ...targets, ...orders.targets } }),
    });
  }

  /** The subrequests since the last orders. */
  async seen(): Promise<readonly Subrequest[]> {
    return (await this.#state()).seen;
  }

  /** Make a call and kill its invocation when it has made `after` subrequests; null: it made no more. */
  async killAfter(after: number, call: Call): Promise<Killed | null> {
    await this.order({ cut: "hold", after });
    const kill = new AbortController();
    const running = this.inOneInvocation([call], kill.signal).catch(() => undefined);
    const held = await this.#heldBeforeEnd(running);
    kill.abort();
    await running;
    await this.order({});
    return held === null ? null : { made: held.seen.slice(0, after), next: held.seen[after] };
  }

  /** Whether a subrequest of a running call comes to wait for the next orders. False: the call has ended before. */
  async isHeldBeforeEnd(running: Promise<unknown>): Promise<boolean> {
    return (await this.#heldBeforeEnd(running)) !== null;
  }

  async #heldBeforeEnd(running: Promise<unknown>): Promise<ShimState | null> {
    const ended = new AbortController();
    const held = this.#state(`?held-within-ms=${HOUR_MS}`, ended.signal).then(
      (state) => (state.waiting > 0 ? state : null),
      () => null,
    );
    const first = await Promise.race([running.then(() => null), held]);
    ended.abort();
    return first;
  }

  /** The same index and namespace, opened with other rules. */
  with(options: Partial<VectorizeClientOptions>): Store {
    return this.#opened(this.#bound, this.isNamed, options);
  }

  /** The same store, opened with some of its indexes. */
  over(indexes: readonly string[]): Store {
    const some = [...this.#bound].filter(([name]) => indexes.includes(name));
    return this.#opened(new Map(some), true);
  }

  /** The first index of the store and its namespace, opened with the binding alone. */
  withoutNames(): Store {
    return this.#opened(new Map([...this.#bound].slice(0, 1)), false);
  }

  #opened(
    bound: ReadonlyMap<string, string>,
    isNamed: boolean,
    options: Partial<VectorizeClientOptions> = {},
  ): Store {
    const whole = { ...this.#options, ...options };
    return new Store(this.#bench, bound, isNamed, this.#namespace, whole);
  }

  async #state(query = "", signal?: AbortSignal): Promise<ShimState> {
    const answer = await ask(`${this.#bench.worker.controlUrl}${query}`, { signal });
    return JSON.parse(answer) as ShimState;
  }

  /** Write files behind the store, as it writes them itself: vectors, entries and counters. */
  async fill(vectors: readonly Chunk[]): Promise<void> {
    const entries: { key: string; value: string; metadata: unknown }[] = [];
    const byIndex = new Map<string, Chunk[]>();
    for (const [fileId, some] of byFile(vectors)) {
      const [index = ""] = await ranked(this.indexes, fileId);
      byIndex.set(index, [...(byIndex.get(index) ?? []), ...some]);
      const value = JSON.stringify(some.map(({ id }) => id));
      entries.push({ key: `file:${fileId}`, value, metadata: this.isNamed ? { index } : null });
    }
    for (const [index, some] of byIndex) {
      const lines = some.map((one) => JSON.stringify(one)).join("\n");
      await this.#bench.call("POST", `/vectorize/v2/indexes/${index}/upsert`, lines);
      const key = CASES.rules.counter_key + (this.isNamed ? `:${index}` : "");
      entries.push({ key, value: String(some.length), metadata: null });
    }
    await this.#bench.call("PUT", `/storage/kv/namespaces/${this.#namespace}/bulk`, entries);
  }

  /** Write a KV value behind the store. */
  plant(key: string, value: string, metadata: unknown = null): Promise<unknown> {
    const path = `/storage/kv/namespaces/${this.#namespace}/bulk`;
    return this.#bench.call("PUT", path, [{ key, value, metadata }]);
  }

  /** Remove a KV key behind the store. */
  removeKey(key: string): Promise<unknown> {
    const path = `/storage/kv/namespaces/${this.#namespace}/bulk/delete`;
    return this.#bench.call("POST", path, [key]);
  }

  /** Remove vectors behind the store. */
  removeBehind(ids: readonly string[]): Promise<unknown> {
    const path = `/vectorize/v2/indexes/${this.indexes[0]}/delete_by_ids`;
    return this.#bench.call("POST", path, { ids });
  }

  /** Key of KV -> its metadata, for those that have some. */
  async metadata(): Promise<Record<string, unknown>> {
    const path = `/storage/kv/namespaces/${this.#namespace}/keys?limit=1000`;
    return metadataOf(await this.#ask<KeyOfKv[]>("GET", path));
  }

  /** The ids in an index, in order. */
  async #idsIn(index: string): Promise<string[]> {
    const ids: string[] = [];
    let cursor = "";
    do {
      const page = await this.#ask<{
        vectors: { id: string }[];
        nextCursor: string | null;
      }>("GET", `/vectorize/v2/indexes/${index}/list?count=1000${cursor}`);
      ids.push(...page.vectors.map(({ id }) => id));
      cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
    } while (cursor !== "");
    return ids.sort();
  }

  /** What each of several indexes holds now. */
  async parts(): Promise<Record<string, Part>> {
    return (await this.shown()).parts;
  }

  /** What is behind the store now; of several indexes the sum. */
  async held(): Promise<Held> {
    return (await this.shown()).held;
  }

  /** All that is behind the store now. */
  async shown(): Promise<Shown> {
    const ids = new Map<string, string[]>();
    for (const index of this.indexes) {
      ids.set(index, await this.#idsIn(index));
    }
    const kv = `/storage/kv/namespaces/${this.#namespace}`;
    const keys = await this.#ask<KeyOfKv[]>("GET", `${kv}/keys?limit=1000`);
    const values: Record<string, string> = {};
    for (let at = 0; at < keys.length; at += KEYS_MAX) {
      const names = keys.slice(at, at + KEYS_MAX).map(({ name }) => name);
      const answer = await this.#ask<{ values: Record<string, string> }>("POST", `${kv}/bulk/get`, {
        keys: names,
      });
      Object.assign(values, answer.values);
    }
    const entries: Record<string, unknown> = {};
    const expirations: Record<string, number> = {};
    const counters: Record<string, number> = {};
    for (const { name, expiration } of keys) {
      const value = JSON.parse(values[name] ?? "null") as unknown;
      if (name.startsWith(CASES.rules.counter_key)) {
        counters[name] = value as number;
      } else {
        entries[name] = value;
      }
      if (expiration !== undefined) {
        expirations[name] = expiration;
      }
    }
    const numbers = Object.values(counters);
    const counter = numbers.length === 0 ? null : numbers.reduce((sum, number) => sum + number);
    const partOf = (index: string, some: readonly string[]): Part => ({
      ids: some,
      counter: counters[`${CASES.rules.counter_key}:${index}`] ?? null,
    });
    return {
      held: { ids: [...ids.values()].flat().sort(), entries, counter, expirations },
      metadata: metadataOf(keys),
      parts: Object.fromEntries([...ids].map(([index, some]) => [index, partOf(index, some)])),
    };
  }

  /** A read behind the store, repeated where the sandbox is ordered to fail. */
  async #ask<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#bench.call<Result>(method, path, body);
      } catch (error) {
        if (attempt === 5) {
          throw error;
        }
      }
    }
  }
}

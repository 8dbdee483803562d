/** Stores in real `workerd` in front of the sandbox, and what is behind them. */

import { join } from "node:path";
import { type RunningWorker, startWorker } from "../../kit/runtime";
import { type RunningSandbox, startSandbox } from "../../kit/sandbox";
import type { ShimOrders, ShimState, Subrequest } from "../../kit/shim";
import type { VectorizeClientOptions } from "../../src/client";
import { CASES } from "./cases";
import type { Calls, Outcome } from "./worker";

/** What index and namespace hold, behind the client. */
export interface Held {
  readonly ids: string[];
  readonly entries: Record<string, unknown>;
  readonly counter: number | null;
  /** Key -> expiry in seconds since 1970. */
  readonly expirations: Record<string, number>;
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

/** One sandbox and one runtime for a file of tests. */
export class Bench {
  readonly sandbox: RunningSandbox;
  readonly worker: RunningWorker;
  #stores = 0;
  #namespace: string | null = null;

  static async start(profile: "instant" | "strict" = "instant", fault = ""): Promise<Bench> {
    const sandbox = await startSandbox(profile, fault);
    try {
      const worker = await startWorker(
        {
          main: join(import.meta.dirname, "worker.ts"),
          vectorize: { VECTORIZE_INDEX: "none" },
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

  /** A store on a new index and a new namespace. One at a time is bound. */
  async store(options: Partial<VectorizeClientOptions> = {}): Promise<Store> {
    this.#stores += 1;
    const index = `store-${this.#stores}`;
    const { dimensions, metric } = CASES.rules;
    await this.sandbox.call("POST", "/vectorize/v2/indexes", {
      name: index,
      config: { dimensions, metric },
    });
    const namespaces = "/storage/kv/namespaces";
    if (this.#namespace !== null) {
      await this.sandbox.call("DELETE", `${namespaces}/${this.#namespace}`); // an account has 1,000
    }
    const { id } = await this.sandbox.call<{ id: string }>("POST", namespaces, { title: index });
    this.#namespace = id;
    const store = new Store(this, index, id, options);
    await store.order({});
    return store;
  }
}

/** A store, called through a Worker. Each call is an invocation with an object of its own. */
export class Store {
  readonly #bench: Bench;
  readonly #index: string;
  readonly #namespace: string;
  readonly #options: VectorizeClientOptions;

  constructor(
    bench: Bench,
    index: string,
    namespace: string,
    options: Partial<VectorizeClientOptions>,
  ) {
    this.#bench = bench;
    this.#index = index;
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

  /** One call. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.inOneInvocation([[method, ...args]]);
  }

  /** Calls of one object, one after the other; the value of the last. */
  async inOneInvocation(calls: readonly Call[], signal?: AbortSignal): Promise<unknown> {
    const body: Calls = { options: this.#options, calls };
    const answer = await fetch(this.#bench.worker.url, {
      method: "POST",
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
    const outcome = (await answer.json()) as Outcome;
    if (outcome.error !== undefined) {
      throw new CallError(outcome.error);
    }
    return outcome.value;
  }

  /** Give the shim orders; the subrequests are counted from here. */
  async order(orders: ShimOrders): Promise<void> {
    const targets = { VECTORIZE_INDEX: this.#index, FILE_VECTOR_INDEX: this.#namespace };
    await fetch(this.#bench.worker.controlUrl, {
      method: "PUT",
      body: JSON.stringify({ ...orders, targets: { ...targets, ...orders.targets } }),
    });
  }

  /** The subrequests since the last orders. */
  async seen(): Promise<readonly Subrequest[]> {
    return (await this.#state()).seen;
  }

  /** Make a call and kill its invocation when it has made `after` subrequests. False: it made no more. */
  async killAfter(after: number, call: Call): Promise<boolean> {
    await this.order({ cut: "hold", after });
    const kill = new AbortController();
    let ended = false;
    const running = this.inOneInvocation([call], kill.signal).then(
      () => {
        ended = true;
      },
      () => {
        ended = true;
      },
    );
    while (!ended && !(await this.isHolding())) {
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    const wasKilled = !ended;
    kill.abort();
    await running;
    await this.order({});
    return wasKilled;
  }

  /** Whether a subrequest waits for the next orders. */
  async isHolding(): Promise<boolean> {
    return (await this.#state()).waiting > 0;
  }

  /** The same index and namespace, opened with other rules. */
  with(options: Partial<VectorizeClientOptions>): Store {
    return new Store(this.#bench, this.#index, this.#namespace, { ...this.#options, ...options });
  }

  async #state(): Promise<ShimState> {
    return (await (await fetch(this.#bench.worker.controlUrl)).json()) as ShimState;
  }

  /** Write a KV value behind the store. */
  plant(key: string, value: string, metadata: unknown = null): Promise<unknown> {
    const path = `/storage/kv/namespaces/${this.#namespace}/bulk`;
    return this.#bench.sandbox.call("PUT", path, [{ key, value, metadata }]);
  }

  /** Remove vectors behind the store. */
  removeBehind(ids: readonly string[]): Promise<unknown> {
    const path = `/vectorize/v2/indexes/${this.#index}/delete_by_ids`;
    return this.#bench.sandbox.call("POST", path, { ids });
  }

  /** Key of KV -> its metadata, for those that have some. */
  async metadata(): Promise<Record<string, unknown>> {
    const path = `/storage/kv/namespaces/${this.#namespace}/keys?limit=1000`;
    const keys = await this.#ask<{ name: string; metadata?: unknown }[]>("GET", path);
    return Object.fromEntries(
      keys.filter((one) => one.metadata != null).map((one) => [one.name, one.metadata]),
    );
  }

  /** What is behind the store now. */
  async held(): Promise<Held> {
    const ids: string[] = [];
    let cursor = "";
    do {
      const page = await this.#ask<{
        vectors: { id: string }[];
        nextCursor: string | null;
      }>("GET", `/vectorize/v2/indexes/${this.#index}/list?count=1000${cursor}`);
      ids.push(...page.vectors.map(({ id }) => id));
      cursor = page.nextCursor === null ? "" : `&cursor=${page.nextCursor}`;
    } while (cursor !== "");
    const kv = `/storage/kv/namespaces/${this.#namespace}`;
    const keys = await this.#ask<{ name: string; expiration?: number }[]>(
      "GET",
      `${kv}/keys?limit=1000`,
    );
    const entries: Record<string, unknown> = {};
    const expirations: Record<string, number> = {};
    let counter: number | null = null;
    for (const { name, expiration } of keys) {
      const { values } = await this.#ask<{ values: Record<string, string> }>(
        "POST",
        `${kv}/bulk/get`,
        { keys: [name] },
      );
      const value = JSON.parse(values[name] ?? "null") as unknown;
      if (name === CASES.rules.counter_key) {
        counter = value as number;
      } else {
        entries[name] = value;
      }
      if (expiration !== undefined) {
        expirations[name] = expiration;
      }
    }
    return { ids: ids.sort(), entries, counter, expirations };
  }

  /** The metadata of every KV key that has some. */
  async keyMetadata(): Promise<Record<string, unknown>> {
    const keys = await this.#ask<{ name: string; metadata?: unknown }[]>(
      "GET",
      `/storage/kv/namespaces/${this.#namespace}/keys?limit=1000`,
    );
    return Object.fromEntries(
      keys.flatMap(({ name, metadata }) => (metadata === undefined ? [] : [[name, metadata]])),
    );
  }

  /** A read behind the store, repeated where the sandbox is ordered to fail. */
  async #ask<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#bench.sandbox.call<Result>(method, path, body);
      } catch (error) {
        if (attempt === 5) {
          throw error;
        }
      }
    }
  }
}

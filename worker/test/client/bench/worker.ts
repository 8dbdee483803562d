/** A Worker that makes calls of one store, one after the other, in one invocation. */

import {
  FileStoreError,
  type VectorizeBindings,
  VectorizeClient,
  type VectorizeClientOptions,
} from "../../../src/client";

type Env = { readonly FILE_VECTOR_INDEX: KVNamespace } & Readonly<Record<string, Vectorize>>;

/** The body of a request. */
export interface Calls {
  readonly options: VectorizeClientOptions;
  /** Name of each index -> name of its binding; VECTORIZE_INDEX alone without it. */
  readonly vectorize?: Readonly<Record<string, string>>;
  readonly calls: readonly (readonly [method: string, ...args: unknown[]])[];
}

/** The answer: the value of the last call, or the error that ended them. */
export interface Outcome {
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string; readonly remedy: string };
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { options, vectorize = "VECTORIZE_INDEX", calls } = await request.json<Calls>();
    let outcome: Outcome = {};
    try {
      const bound =
        typeof vectorize === "string"
          ? env[vectorize]
          : Object.fromEntries(Object.entries(vectorize).map(([name, one]) => [name, env[one]]));
      const client = new VectorizeClient(
        bound as VectorizeBindings,
        env.FILE_VECTOR_INDEX,
        options,
      );
      const methods = client as unknown as Record<string, (...args: unknown[]) => unknown>;
      for (const [method, ...args] of calls) {
        outcome = { value: await methods[method]?.(...args) };
      }
    } catch (error) {
      if (!(error instanceof FileStoreError)) {
        throw error;
      }
      const { name, message, remedy } = error;
      outcome = { error: { name, message, remedy } };
    }
    return Response.json(outcome);
  },
} satisfies ExportedHandler<Env>;

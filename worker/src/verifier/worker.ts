/**
 * A Worker that reads vectors through its bindings and answers what it read, so that
 * `q2v reconcile --verifier` compares contents without the request budget of the REST API
 * (docs/decisions/0049). It writes nothing. What is not a good request gets 404.
 */

import { ConfigurationError, type IndexInfo, type IndexReader, readersOf } from "./index_reader.ts";
import { type Asked, BODY_BYTES_MAX, readBody, readQuestion, VECTORS_MAX } from "./question.ts";
import { ReadingError, read } from "./reading.ts";
import { checkRequest, KEY_LENGTH_MIN, SIGNATURE_HEADER, signAnswer } from "./signature.ts";

const PROTOCOL = 2;
const READY = "GET /ready";
const VERIFY = /^POST \/v2\/verify\/([A-Za-z0-9_-]{1,64})$/; // the name of the index

/** Beside these it holds the bindings that `VECTORIZE_INDEXES` names. */
export interface Env {
  VECTORIZE_INDEXES: Record<string, string>; // name of each index -> name of its binding
  Q2V_VERIFIER_KEY: string; // a secret: `wrangler secret put Q2V_VERIFIER_KEY`
}

interface Answer {
  status: number;
  document: object;
}

type Indexes = ReadonlyMap<string, IndexReader>;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const key = env.Q2V_VERIFIER_KEY;
    if (typeof key !== "string" || key.length < KEY_LENGTH_MIN) {
      console.error(`Q2V_VERIFIER_KEY is not set, or has less than ${KEY_LENGTH_MIN} characters`);
      return notFound();
    }
    const { pathname: path, search } = new URL(request.url);
    const asked = `${request.method} ${path}${search}`;
    const index = VERIFY.exec(asked)?.[1] ?? null;
    const body = index === null && asked !== READY ? null : await readBody(request);
    if (body === null) return notFound();
    const { method, headers } = request;
    const signature = checkRequest(key, { method, path, headers, body }, Date.now());
    if (signature === null) return notFound();
    const answer = await answerTo(env, index, body);
    if (answer === null) return notFound();
    const text = JSON.stringify(answer.document);
    return new Response(text, {
      status: answer.status,
      headers: {
        "content-type": "application/json",
        "cache-control": "no-store",
        [SIGNATURE_HEADER]: signAnswer(key, signature, answer.status, text),
      },
    });
  },
};

function notFound(): Response {
  return new Response(null, { status: 404 });
}

/** The answer to a request with a good signature: about one index, or about all for null. */
async function answerTo(env: Env, index: string | null, body: Uint8Array): Promise<Answer | null> {
  const asked = index === null ? [] : readQuestion(body);
  if (asked === null || (index === null && body.length > 0)) return null;
  try {
    const indexes = readersOf(env, env.VECTORIZE_INDEXES);
    return index === null ? await ready(indexes) : await verify(indexes, index, asked);
  } catch (error) {
    if (error instanceof ConfigurationError) return failed("configuration", error.message);
    if (error instanceof ReadingError) return failed(error.kind, error.message);
    throw error;
  }
}

async function ready(indexes: Indexes): Promise<Answer> {
  const described = await Promise.all(
    [...indexes].map(async ([name, index]) => [name, await describe(index)] as const),
  );
  const document = {
    service: "q2v verifier",
    protocol: PROTOCOL,
    vectors_max: VECTORS_MAX,
    body_bytes_max: BODY_BYTES_MAX,
    indexes: Object.fromEntries(described),
  };
  return { status: 200, document };
}

/** How an index is. One that cannot be described does not keep the others from being read. */
async function describe(index: IndexReader): Promise<object> {
  let info: IndexInfo;
  try {
    info = await index.describe();
  } catch (error) {
    return { error: shortened(error instanceof Error ? error.message : String(error)) };
  }
  return {
    dimensions: info.dimensions,
    vector_count: info.vectorCount,
    processed_mutation: info.processedUpToMutation ?? null,
  };
}

async function verify(indexes: Indexes, name: string, asked: Asked[]): Promise<Answer> {
  const index = indexes.get(name);
  if (index === undefined) {
    const known = [...indexes.keys()].join(", ");
    throw new ConfigurationError(`VECTORIZE_INDEXES: found no index '${name}' among ${known}`);
  }
  return { status: 200, document: await read(index, asked) };
}

function failed(kind: string, what: string): Answer {
  return { status: 503, document: { error: kind, what: shortened(what) } };
}

function shortened(what: string): string {
  return what.slice(0, 300);
}

/**
 * A Worker that reads vectors through its binding and answers what it read, so that
 * `q2v reconcile --verifier` compares contents without the request budget of the REST API
 * (docs/decisions/0049). It writes nothing. What is not a good request gets 404.
 */

import { type IndexReader, readerOf } from "./index_reader.ts";
import { BODY_BYTES_MAX, readBody, readQuestion, VECTORS_MAX } from "./question.ts";
import { ReadingError, read } from "./reading.ts";
import { checkRequest, KEY_LENGTH_MIN, SIGNATURE_HEADER, signAnswer } from "./signature.ts";

const PROTOCOL = 1;

export interface Env {
  VECTORIZE_INDEX: Vectorize;
  Q2V_VERIFIER_KEY: string; // a secret: `wrangler secret put Q2V_VERIFIER_KEY`
}

interface Answer {
  status: number;
  document: object;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const key = env.Q2V_VERIFIER_KEY;
    if (typeof key !== "string" || key.length < KEY_LENGTH_MIN) {
      console.error(`Q2V_VERIFIER_KEY is not set, or has less than ${KEY_LENGTH_MIN} characters`);
      return notFound();
    }
    const { pathname: path, search } = new URL(request.url);
    const answers = ANSWERS[`${request.method} ${path}${search}`];
    const body = answers === undefined ? null : await readBody(request);
    if (answers === undefined || body === null) return notFound();
    const { method, headers } = request;
    const signature = checkRequest(key, { method, path, headers, body }, Date.now());
    if (signature === null) return notFound();
    const answer = await answers(readerOf(env.VECTORIZE_INDEX), body);
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

const ANSWERS: Record<string, (index: IndexReader, body: Uint8Array) => Promise<Answer | null>> = {
  "GET /ready": ready,
  "POST /v1/verify": verify,
};

function notFound(): Response {
  return new Response(null, { status: 404 });
}

async function ready(index: IndexReader, body: Uint8Array): Promise<Answer | null> {
  if (body.length > 0) return null;
  try {
    const info = await index.describe();
    const document = {
      service: "q2v verifier",
      protocol: PROTOCOL,
      vectors_max: VECTORS_MAX,
      body_bytes_max: BODY_BYTES_MAX,
      dimensions: info.dimensions,
      vector_count: info.vectorCount,
      processed_mutation: info.processedUpToMutation ?? null,
    };
    return { status: 200, document };
  } catch (error) {
    return failed("reads", error);
  }
}

async function verify(index: IndexReader, body: Uint8Array): Promise<Answer | null> {
  const asked = readQuestion(body);
  if (asked === null) return null;
  try {
    return { status: 200, document: await read(index, asked) };
  } catch (error) {
    if (error instanceof ReadingError) return failed(error.kind, error);
    throw error;
  }
}

function failed(kind: string, error: unknown): Answer {
  const what = error instanceof Error ? error.message : String(error);
  return { status: 503, document: { error: kind, what: what.slice(0, 300) } };
}

/** Read the vectors of a question, and say which of them are not as they should be. */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { digestVector, type ReadVector } from "./digest.ts";
import type { IndexReader } from "./index_reader.ts";
import type { Asked } from "./question.ts";
import { UnreadableError } from "./unreadable.ts";

const IDS_PER_CALL = 20; // the service refuses 21
const LANES = 6; // connections that an invocation may wait on at once
const TRIES = 5; // of one call
const RETRIES_MAX = 50; // of all calls together
const PAUSE_MS = 200; // before the second try; it doubles

/** What was found. Ids are in the order of the question. */
export interface Reading {
  read: number; // vectors whose digest was made
  calls: number;
  retries: number;
  missing: string[];
  differs: [id: string, digest: string][];
  unreadable: [id: string, why: string][];
  digest: string; // SHA-256 over "q2v read 1\n" and all digests that were made, in order
}

/** Reading failed for good. `kind` is what the caller acts on. */
export class ReadingError extends Error {
  readonly kind: "subrequests" | "reads";

  constructor(kind: "subrequests" | "reads", what: string) {
    super(what);
    this.kind = kind;
  }
}

type Found = Uint8Array | "missing" | { unreadable: string };

/** Throws ReadingError when a call fails after all its tries. */
export async function read(
  index: IndexReader,
  asked: Asked[],
  wait: (ms: number) => Promise<unknown> = pause,
): Promise<Reading> {
  const found: Found[] = new Array(asked.length);
  const counts = { calls: 0, retries: 0 };
  let next = 0;
  let failed = false;

  async function lane(): Promise<void> {
    while (next < asked.length && !failed) {
      const start = next;
      next += IDS_PER_CALL;
      const group = asked.slice(start, next);
      const vectors = await call(
        index,
        group.map((one) => one.id),
        counts,
        wait,
      );
      for (const [at, one] of group.entries()) found[start + at] = digestOf(vectors.get(one.id));
    }
  }

  const lanes = Array.from({ length: LANES }, () =>
    lane().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  await Promise.all(lanes);
  return summary(asked, found, counts);
}

async function call(
  index: IndexReader,
  ids: string[],
  counts: { calls: number; retries: number },
  wait: (ms: number) => Promise<unknown>,
): Promise<Map<string, ReadVector>> {
  for (let attempt = 1; ; attempt++) {
    counts.calls += 1;
    try {
      const vectors = await index.getByIds(ids);
      return new Map(vectors.map((vector) => [vector.id, vector]));
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      if (what.includes("Too many subrequests")) throw new ReadingError("subrequests", what);
      if (attempt === TRIES || counts.retries >= RETRIES_MAX) throw new ReadingError("reads", what);
      counts.retries += 1;
    }
    await wait(PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2));
  }
}

function pause(ms: number): Promise<unknown> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function digestOf(vector: ReadVector | undefined): Found {
  if (vector === undefined) return "missing";
  try {
    return digestVector(vector);
  } catch (error) {
    // A text that nests too deeply ends as a RangeError.
    if (error instanceof UnreadableError || error instanceof RangeError) {
      return { unreadable: error.message };
    }
    throw error;
  }
}

function summary(
  asked: Asked[],
  found: Found[],
  counts: { calls: number; retries: number },
): Reading {
  const hash = createHash("sha256").update("q2v read 1\n");
  const reading: Reading = {
    read: 0,
    ...counts,
    missing: [],
    differs: [],
    unreadable: [],
    digest: "",
  };
  for (const [at, { id, prefix }] of asked.entries()) {
    const one = found[at] as Found;
    if (one === "missing") {
      reading.missing.push(id);
    } else if ("unreadable" in one) {
      reading.unreadable.push([id, one.unreadable]);
    } else {
      reading.read += 1;
      hash.update(one);
      if (!begins(one, prefix)) reading.differs.push([id, Buffer.from(one).toString("hex")]);
    }
  }
  reading.digest = hash.digest("hex");
  return reading;
}

function begins(digest: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, at) => byte === digest[at]);
}

/**
 * The digest of a vector as it is read back, byte for byte that of
 * `migrate.model.digest.digest_vector` (docs/formats.md, "The digest of a vector").
 */

import { createHash } from "node:crypto";
import { canonicalJson } from "./canonical_json.ts";
import { UnreadableError } from "./unreadable.ts";

export const DIGEST_BYTES = 32;

/** A record as the binding returns it; nothing of it has been checked. */
export interface ReadVector {
  id: string;
  values?: unknown;
  namespace?: string | null;
  metadata?: unknown;
}

const SIGN = 0x80000000;
const EXPONENT = 0x7f800000;
// Two float32 values that count as one: former versions of q2v wrote the first as a text that is
// read as the second (migrate/model/float_text.py).
const TWICE_ROUNDED = 0x15ae43fd;
const NEIGHBOUR = 0x15ae43fe;

const HEAD = "q2v vector 1\n";
const FIELD_HEAD_BYTES = 9; // a tag and the length as u64
const BYTES_PER_CHARACTER_MAX = 3; // of UTF-8, for a UTF-16 unit

const encoder = new TextEncoder();
let scratch = new Uint8Array(64 * 1024);
let view = new DataView(scratch.buffer);

/** The 32 bytes. Throws UnreadableError when the record is no vector. */
export function digestVector(vector: ReadVector): Uint8Array {
  const metadata = canonicalJson(fieldsOf(vector.metadata));
  const values = valuesOf(vector.values);
  makeRoom(vector.id, values.length, metadata);
  let end = encoder.encodeInto(HEAD, scratch).written;
  end = writeText("i", vector.id, end);
  end = writeValues(values, end);
  end = writeText("m", metadata, end);
  const digest = createHash("sha256").update(scratch.subarray(0, end)).digest();
  return vector.namespace ? digestInNamespace(digest, vector.namespace) : digest;
}

function digestInNamespace(digest: Uint8Array, namespace: unknown): Uint8Array {
  if (typeof namespace !== "string") throw new UnreadableError("a namespace that is no text");
  const hash = createHash("sha256").update("q2v vector in a namespace 1\n").update(digest);
  return hash.update(namespace, "utf8").digest();
}

/** No metadata and empty metadata are the same, as they are in the service. */
function fieldsOf(metadata: unknown): object {
  if (metadata === undefined || metadata === null) return {};
  if (typeof metadata !== "object" || Array.isArray(metadata)) {
    throw new UnreadableError("metadata that is no object");
  }
  return metadata;
}

function valuesOf(values: unknown): ArrayLike<unknown> {
  if (Array.isArray(values) || ArrayBuffer.isView(values)) return values as ArrayLike<unknown>;
  throw new UnreadableError("no list of values");
}

function makeRoom(id: string, values: number, metadata: string): void {
  const texts = BYTES_PER_CHARACTER_MAX * (HEAD.length + id.length + metadata.length);
  const needed = texts + 3 * FIELD_HEAD_BYTES + 4 * values;
  if (needed <= scratch.length) return;
  scratch = new Uint8Array(2 * needed);
  view = new DataView(scratch.buffer);
}

function writeText(tag: string, text: string, at: number): number {
  const { written } = encoder.encodeInto(text, scratch.subarray(at + FIELD_HEAD_BYTES));
  writeHead(tag, written, at);
  return at + FIELD_HEAD_BYTES + written;
}

function writeHead(tag: string, contentBytes: number, at: number): void {
  view.setUint8(at, tag.charCodeAt(0));
  view.setUint32(at + 1, contentBytes, true);
  view.setUint32(at + 5, 0, true);
}

function writeValues(values: ArrayLike<unknown>, at: number): number {
  writeHead("v", 4 * values.length, at);
  const start = at + FIELD_HEAD_BYTES;
  for (let position = 0; position < values.length; position++) {
    const value = values[position];
    // A null would be written as 0, and a text as its number.
    if (typeof value !== "number") throw new UnreadableError("values that are no numbers");
    view.setFloat32(start + 4 * position, value, true);
    const bits = view.getUint32(start + 4 * position, true);
    if ((bits & EXPONENT) === EXPONENT) throw new UnreadableError("values beyond float32");
    const plain = plainBits(bits);
    if (plain !== bits) view.setUint32(start + 4 * position, plain, true);
  }
  return start + 4 * values.length;
}

/** The bits of a value: both zeros are one, and so are the twice-rounded value and its neighbour. */
function plainBits(bits: number): number {
  if (bits === SIGN) return 0;
  return (bits & ~SIGN) === NEIGHBOUR ? (bits & SIGN) | TWICE_ROUNDED : bits;
}

/** Which vectors the store takes, before anything is sent. Pure. The rules are those of a move. */

import { counted, UsageError } from "./errors";
import { METADATA_BYTES, VECTOR_ID_BYTES } from "./limits";
import { type FileChunk, type FileStoreRules, type Naming, utf8Bytes } from "./rules";

/** One chunk of a file, as it is written and as it is read. */
export interface FileVector {
  /** What `generateVectorId` makes of the file and the chunk in the metadata. */
  readonly id: string;
  readonly values: ArrayLike<number>;
  /** The file's id, the chunk's number, its hash, and more. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A vector that the service takes. */
export interface CheckedVector {
  readonly id: string;
  readonly chunk: FileChunk;
  readonly values: number[];
  readonly metadata: Record<string, VectorizeVectorMetadata>;
  /** Bytes of the body of an upsert, at most. */
  readonly bytesMax: number;
}

/** The longest text of a double, with its comma. */
const VALUE_BYTES = 25;
const FRAMING_BYTES = 64;
const HASH = /^[0-9a-fA-F]{64}$/;

/** The vectors as they are sent. Throws UsageError, naming the first that cannot be stored. */
export function checkVectors(vectors: readonly FileVector[], naming: Naming): CheckedVector[] {
  const checked = new Map<string, CheckedVector>();
  for (const vector of vectors) {
    const one = checkVector(vector, naming);
    if (checked.has(one.id)) {
      throw refused(vector, "the id occurs twice in this call");
    }
    checked.set(one.id, one);
  }
  return [...checked.values()];
}

function checkVector(vector: FileVector, naming: Naming): CheckedVector {
  const values = checkValues(vector, naming.rules);
  const metadata = checkMetadata(vector, naming.rules);
  const chunk = checkChunk(vector, metadata, naming.rules);
  const [made] = naming.vectorIds(chunk.fileId, [chunk.chunkIndex]);
  if (made !== vector.id) {
    const found =
      made === undefined ? `an id of more than ${VECTOR_ID_BYTES} bytes` : `the id '${made}'`;
    throw refused(vector, `its metadata makes ${found}`);
  }
  const fault = naming.fileFault(chunk.fileId);
  if (fault !== null) {
    throw refused(vector, `KV cannot hold the key of its file: ${fault}`);
  }
  const size = utf8Bytes(JSON.stringify(metadata));
  if (size > METADATA_BYTES) {
    throw refused(vector, `${size} bytes of metadata, at most ${METADATA_BYTES} are possible`);
  }
  const bytesMax = size + VALUE_BYTES * values.length + 2 * vector.id.length + FRAMING_BYTES;
  return { id: vector.id, chunk, values, metadata, bytesMax };
}

function checkValues(vector: FileVector, rules: FileStoreRules): number[] {
  const { dimensions, metric } = rules;
  const found = vector.values?.length ?? 0;
  if (found !== dimensions) {
    throw refused(
      vector,
      `${counted(found, "value")}, the store takes ${dimensions}`,
      `ask the embedding model for ${dimensions} dimensions`,
    );
  }
  const values = Array.from(vector.values);
  if (!values.every((value) => typeof value === "number")) {
    throw refused(vector, "the values are no numbers");
  }
  if (!values.every((value) => Number.isFinite(Math.fround(value)))) {
    throw refused(vector, "NaN, infinity or a value beyond float32");
  }
  if (metric === "cosine" && values.every((value) => Math.fround(value) === 0)) {
    throw refused(vector, "all values are zero, which have no direction");
  }
  return values;
}

/** File and chunk in the metadata, and the hash beside them. */
function checkChunk(
  vector: FileVector,
  metadata: Record<string, VectorizeVectorMetadata>,
  rules: FileStoreRules,
): FileChunk {
  const fileId = metadata[rules.groupKey];
  if (typeof fileId !== "string" || fileId === "") {
    throw refused(vector, `'${rules.groupKey}' in the metadata: a text was expected`);
  }
  const chunkIndex = metadata[rules.orderKey];
  if (typeof chunkIndex !== "number" || !Number.isSafeInteger(chunkIndex) || chunkIndex < 0) {
    throw refused(
      vector,
      `'${rules.orderKey}' in the metadata: a whole number from 0 to 2^53 - 1 was expected`,
    );
  }
  const hash = rules.hashKey === "" ? null : metadata[rules.hashKey];
  if (hash !== null && (typeof hash !== "string" || !HASH.test(hash))) {
    throw refused(vector, `'${rules.hashKey}' in the metadata: 64 hex digits were expected`);
  }
  return { fileId, chunkIndex };
}

/** The metadata as it is stored: without undefined, and without null where the rules say so. */
function checkMetadata(
  vector: FileVector,
  rules: FileStoreRules,
): Record<string, VectorizeVectorMetadata> {
  const kept: Record<string, VectorizeVectorMetadata> = Object.create(null);
  for (const [key, value] of Object.entries(vector.metadata ?? {})) {
    if (value === undefined || (value === null && rules.nulls === "leave_out")) {
      continue;
    }
    const fault = keyRefusal(key) ?? valueFault(value, true);
    if (fault !== null) {
      throw refused(vector, `'${key.toWellFormed()}' in the metadata: ${fault}`);
    }
    kept[key] = value as VectorizeVectorMetadata;
  }
  return kept;
}

function keyRefusal(key: string): string | null {
  if (!key.isWellFormed()) {
    return "a lone surrogate";
  }
  const fits = key !== "" && !key.includes(".") && !key.includes('"') && !key.startsWith("$");
  return fits ? null : 'keys must not be empty, hold . or ", or start with $';
}

/** Texts, exact numbers, booleans, lists of texts; objects of these, one level down. */
function valueFault(value: unknown, isTop: boolean): string | null {
  switch (typeof value) {
    case "string":
      return value.isWellFormed() ? null : "a lone surrogate";
    case "boolean":
      return null;
    case "number":
      return numberFault(value);
    case "object":
      return Array.isArray(value) ? listFault(value) : objectFault(value, isTop);
    default:
      return `${typeof value}, which is no JSON value`;
  }
}

function numberFault(value: number): string | null {
  if (!Number.isFinite(value)) {
    return "NaN or infinity";
  }
  // From 1e21 on, JSON has an exponent, which reads as a double everywhere.
  const isExact =
    !Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 1e21;
  return isExact ? null : "an integer beyond 2^53 - 1";
}

function listFault(values: readonly unknown[]): string | null {
  const isOfTexts = values.every((value) => typeof value === "string" && value.isWellFormed());
  return isOfTexts ? null : "a list that holds something else than texts";
}

function objectFault(value: object | null, isTop: boolean): string | null {
  if (value === null) {
    return 'null; the rule nulls: "leave_out" leaves a field out';
  }
  const prototype = Object.getPrototypeOf(value);
  if (!isTop || (prototype !== Object.prototype && prototype !== null)) {
    return "an object that is no plain one, or below one level";
  }
  for (const [key, inner] of Object.entries(value)) {
    const fault = keyRefusal(key) ?? valueFault(inner, false);
    if (fault !== null) {
      return `'${key.toWellFormed()}' in it: ${fault}`;
    }
  }
  return null;
}

function refused(
  vector: FileVector,
  why: string,
  remedy = "correct this vector, then call again",
): UsageError {
  return new UsageError(`vector '${vector.id}': ${why}`, `${remedy}; nothing was sent`);
}

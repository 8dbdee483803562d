/** How files, chunks, vectors and KV keys are named: as in the move that filled the store. Pure. */

import { PreconditionError, UsageError } from "./errors";
import {
  DIMENSIONS_MAX,
  DIMENSIONS_MIN,
  KV_KEY_BYTES,
  KV_TTL_S_MIN,
  NAMESPACE_BYTES,
  VECTOR_ID_BYTES,
} from "./limits";

/** The rules of the move; `q2v worker init` writes those of a migration. */
export interface FileStoreRules {
  /** Values of a vector. Ask the embedding model for the same number. */
  readonly dimensions: number;
  readonly metric: "cosine" | "euclidean" | "dot-product";
  /** Metadata field with the file's id. */
  readonly groupKey: string;
  /** Metadata field with the chunk's number. */
  readonly orderKey: string;
  /** Metadata field with the SHA-256 of the chunk in hexadecimal; "" when there is none. */
  readonly hashKey: string;
  /** Id of a vector: both fields in braces. */
  readonly idTemplate: string;
  /** KV key of a file: `groupKey` in braces. */
  readonly keyTemplate: string;
  /** KV key of the counter; with several indexes it is followed by a colon and the name of the index. */
  readonly counterKey: string;
  /** What a `null` in the metadata means. */
  readonly nulls: "refuse" | "leave_out";
  /** Vectorize namespace of all vectors; none as a rule. */
  readonly namespace?: string;
  /** Expiry of a file's entry, set again at each rewrite. None: it never expires. */
  readonly ttlSeconds?: number;
}

/** The rules of `q2v` without settings; `dimensions` has no default. */
export const DEFAULT_RULES: Omit<FileStoreRules, "dimensions"> = {
  metric: "cosine",
  groupKey: "file_id",
  orderKey: "chunk_index",
  hashKey: "chunk_hash",
  idTemplate: "{file_id}_{chunk_index}",
  keyTemplate: "file:{file_id}",
  counterKey: "_vector_count",
  nulls: "refuse",
};

/** What a vector id names. */
export interface FileChunk {
  readonly fileId: string;
  /** From 0. */
  readonly chunkIndex: number;
}

const FIELD = /\{([^{}]+)\}/;
const FIELDS = /\{([^{}]+)\}/g;
const UTF8 = new TextEncoder();

/** Bytes of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  return UTF8.encode(text).length;
}

/** Ids of vectors and keys of KV, by the rules. */
export class Naming {
  readonly rules: FileStoreRules;
  /** Names of the indexes of which each file is in one; null in a store of one index. */
  readonly indexes: readonly string[] | null;
  readonly #pattern: RegExp;

  /** Throws PreconditionError for rules that the services cannot meet, or that name two chunks alike. */
  constructor(rules: FileStoreRules, indexes: readonly string[] | null = null) {
    checkRules(rules);
    this.rules = rules;
    this.indexes = indexes;
    this.#pattern = idPattern(rules);
    for (const index of indexes ?? [null]) {
      checkCounterKey(this.counterKey(index));
    }
  }

  /** The id of a chunk. Throws UsageError for a chunk that has none. */
  vectorId(fileId: string, chunkIndex: number): string {
    const id = this.#render(fileId, chunkIndex);
    const size = utf8Bytes(id);
    if (size > VECTOR_ID_BYTES) {
      throw new UsageError(
        `vector id '${id}': ${size} bytes, at most ${VECTOR_ID_BYTES} are possible`,
        "shorten the file's id, or use another id template",
      );
    }
    const parsed = this.parse(id);
    if (parsed?.fileId !== fileId || parsed.chunkIndex !== chunkIndex) {
      throw new UsageError(
        `file ${JSON.stringify(fileId)}, chunk ${JSON.stringify(chunkIndex)}: found something else ` +
          "than a text that is not empty and a whole number from 0 to 2^53 - 1",
        "pass the file's id and the number of its chunk",
      );
    }
    return id;
  }

  /** The ids of these chunks of a file, without those that are too long. */
  vectorIds(fileId: string, chunkIndexes: Iterable<number>): string[] {
    const ids = Array.from(chunkIndexes, (chunkIndex) => this.#render(fileId, chunkIndex));
    return ids.filter((id) => utf8Bytes(id) <= VECTOR_ID_BYTES);
  }

  #render(fileId: string, chunkIndex: number): string {
    const { idTemplate, groupKey } = this.rules;
    return idTemplate.replace(FIELDS, (_, name) =>
      name === groupKey ? fileId : String(chunkIndex),
    );
  }

  /** The inverse of `vectorId`; null for an id that it never makes. */
  parse(vectorId: string): FileChunk | null {
    const found = this.#pattern.exec(vectorId)?.groups;
    if (found === undefined || !vectorId.isWellFormed() || utf8Bytes(vectorId) > VECTOR_ID_BYTES) {
      return null;
    }
    const { group: fileId = "", order } = found;
    const chunkIndex = Number(order);
    return Number.isSafeInteger(chunkIndex) ? { fileId, chunkIndex } : null;
  }

  /** The KV key of a file. */
  key(fileId: string): string {
    return this.rules.keyTemplate.replace(FIELD, () => fileId);
  }

  /** The KV key of the counter of an index; of the one index for null. */
  counterKey(index: string | null): string {
    const { counterKey } = this.rules;
    return index === null ? counterKey : `${counterKey}:${index}`;
  }

  /** Throws UsageError for a file that has no KV key, or the key of a counter. */
  checkFileId(fileId: string): void {
    const fault = this.fileFault(fileId);
    if (fault !== null) {
      throw new UsageError(
        `file ${JSON.stringify(fileId)}: KV cannot hold its key: ${fault}`,
        "use another id for the file; nothing was sent",
      );
    }
  }

  /** Why a file has no KV key of its own, in words; null when it has one. */
  fileFault(fileId: string): string | null {
    if (typeof fileId !== "string" || fileId === "") {
      return "the file's id is no text, or empty";
    }
    const key = this.key(fileId);
    const counterKeys = (this.indexes ?? [null]).map((index) => this.counterKey(index));
    return counterKeys.includes(key) ? "the counter has this key" : keyFault(key);
  }
}

/** Why KV refuses a key, in words; null when it takes it. */
export function keyFault(key: string): string | null {
  if (!key.isWellFormed()) {
    return "a lone surrogate";
  }
  const size = utf8Bytes(key);
  if (size > KV_KEY_BYTES) {
    return `${size} bytes, at most ${KV_KEY_BYTES}`;
  }
  if (key === "" || key === "." || key === ".." || /[\p{C}\p{Z}\s]/u.test(key)) {
    return "'.', '..', white space or control characters";
  }
  return null;
}

function checkRules(rules: FileStoreRules): void {
  const { dimensions, ttlSeconds, namespace, groupKey, keyTemplate } = rules;
  if (!Number.isInteger(dimensions) || dimensions < DIMENSIONS_MIN || dimensions > DIMENSIONS_MAX) {
    throw new PreconditionError(
      `${dimensions} dimensions, a vector index takes ${DIMENSIONS_MIN} to ${DIMENSIONS_MAX}`,
      "ask the embedding model for a number of dimensions in this range",
    );
  }
  if (ttlSeconds !== undefined && !(ttlSeconds >= KV_TTL_S_MIN)) {
    throw new PreconditionError(
      `ttlSeconds is ${ttlSeconds}, KV takes ${KV_TTL_S_MIN} or more`,
      "leave it out: an entry that expires leaves its vectors behind",
    );
  }
  if (namespace !== undefined && (namespace === "" || utf8Bytes(namespace) > NAMESPACE_BYTES)) {
    throw new PreconditionError(
      `namespace '${namespace}': expected 1 to ${NAMESPACE_BYTES} bytes`,
      "correct it, or leave it out",
    );
  }
  const fields = [...keyTemplate.matchAll(FIELDS)].map((found) => found[1]);
  if (fields.length !== 1 || fields[0] !== groupKey) {
    throw new PreconditionError(
      `keyTemplate '${keyTemplate}': expected {${groupKey}} once, and no other field`,
      `use file:{${groupKey}} or similar`,
    );
  }
}

function checkCounterKey(key: string): void {
  const fault = keyFault(key);
  if (fault !== null) {
    throw new PreconditionError(`counterKey '${key}': ${fault}`, "use another key");
  }
}

/** What every id fits, with the groups `group` and `order`: a number has digits only. */
function idPattern(rules: FileStoreRules): RegExp {
  const { idTemplate, groupKey, orderKey } = rules;
  const parts = idTemplate.split(FIELD);
  const [before = "", first = "", between = "", second = "", after = ""] = parts;
  const fits =
    parts.length === 5 &&
    groupKey !== orderKey &&
    [groupKey, orderKey].includes(first) &&
    [groupKey, orderKey].includes(second) &&
    first !== second &&
    /[^0-9]/.test(between);
  if (!fits) {
    throw new PreconditionError(
      `idTemplate '${idTemplate}': expected the fields {${groupKey}} and {${orderKey}}, each once, ` +
        "with something other than digits between them",
      "use {file_id}_{chunk_index} or similar: the store finds the file by the id",
    );
  }
  const groupOf = (name: string): string =>
    name === groupKey ? "(?<group>.+)" : "(?<order>0|[1-9][0-9]*)";
  const texts = [before, between, after].map((text) =>
    text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"),
  );
  return new RegExp(`^${texts[0]}${groupOf(first)}${texts[1]}${groupOf(second)}${texts[2]}$`, "su");
}

/** The cases of tests/conformance/file_store.json; its README says what the members mean. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Range {
  readonly file_id: string;
  readonly from?: number;
  readonly count: number;
  readonly version?: number;
}

export interface Step {
  readonly call: string;
  readonly vectors?: readonly Range[];
  readonly whole_files?: boolean;
  readonly ids?: readonly (Range | string)[];
  readonly file_id?: string;
  readonly refused?: boolean;
  readonly restart?: boolean;
  readonly then: readonly Range[];
}

export interface Case {
  readonly name: string;
  readonly large?: boolean;
  readonly steps: readonly Step[];
}

export interface Refused {
  readonly name: string;
  readonly values?: number | readonly number[];
  readonly id?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface Cases {
  readonly format: number;
  readonly rules: {
    readonly dimensions: number;
    readonly metric: "cosine";
    readonly id_template: string;
    readonly key_template: string;
    readonly counter_key: string;
  };
  readonly ids: readonly { file_id: string; chunk_index: number; id: string }[];
  readonly no_ids: readonly string[];
  readonly no_chunks: readonly { file_id: string; chunk_index: number }[];
  readonly refused: readonly Refused[];
  readonly cases: readonly Case[];
}

const PATH = join(import.meta.dirname, "../../../../tests/conformance/file_store.json");
export const CASES = JSON.parse(readFileSync(PATH, "utf8")) as Cases;

export interface Chunk {
  readonly id: string;
  readonly values: number[];
  readonly metadata: Record<string, unknown>;
}

/** One chunk, as the README defines it. */
export function chunk(fileId: string, chunkIndex: number, version = 1): Chunk {
  const text = `chunk ${chunkIndex} of ${fileId}, version ${version}`;
  return {
    id: `${fileId}_${chunkIndex}`,
    values: Array.from(
      { length: CASES.rules.dimensions },
      (_, j) => ((7 * chunkIndex + 3 * version + 5 * j) % 11) - 5,
    ),
    metadata: {
      file_id: fileId,
      file_name: `${fileId}.txt`,
      file_path: `/drive/${fileId}.txt`,
      chunk_index: chunkIndex,
      chunk_hash: createHash("sha256").update(text).digest("hex"),
      last_modified: "2026-11-01T12:00:00Z",
      text,
    },
  };
}

/** Chunks of a file, one after the other. */
export function chunks(fileId: string, count: number, from = 0, version = 1): Chunk[] {
  return Array.from({ length: count }, (_, at) => chunk(fileId, from + at, version));
}

/** The chunks that the ranges stand for. */
export function ofRanges(ranges: readonly Range[]): Chunk[] {
  return ranges.flatMap(({ file_id, count, from, version }) =>
    chunks(file_id, count, from, version),
  );
}

/** Chunk 0 of file `a` with the members of an entry of `refused`. */
export function refusedChunk(given: Refused): Chunk {
  const whole = chunk("a", 0);
  const values = given.values ?? whole.values;
  return {
    id: given.id ?? whole.id,
    values: typeof values === "number" ? new Array(values).fill(1) : [...values],
    metadata: { ...whole.metadata, ...given.metadata },
  };
}

/** Method and arguments of a step. */
export function callOf(step: Step): [method: string, ...args: unknown[]] {
  switch (step.call) {
    case "initialize_collection":
      return ["initializeCollection"];
    case "upsert_vectors":
      return [
        "upsertVectors",
        ofRanges(step.vectors ?? []),
        { wholeFiles: step.whole_files ?? false },
      ];
    case "delete_vectors_by_ids":
      return [
        "deleteVectorsByIds",
        (step.ids ?? []).flatMap((one) =>
          typeof one === "string" ? [one] : ofRanges([one]).map(({ id }) => id),
        ),
      ];
    case "delete_vectors_by_file_id":
      return ["deleteVectorsByFileId", step.file_id];
    default:
      throw new Error(`no such call: ${step.call}`);
  }
}

/** File -> its chunks, in the order given. */
export function byFile(all: readonly Chunk[]): Map<string, Chunk[]> {
  return Map.groupBy(all, ({ metadata: { file_id } }) => file_id as string);
}

/**
 * Metadata as canonical JSON: one text for each value, byte for byte that of
 * `migrate.model.digest.canonical_metadata`, so that equal metadata has equal digests.
 *
 * Keys are sorted by code point, numbers compare by value, there is no white space.
 */

import { UnreadableError } from "./unreadable.ts";

const EXACT_INTEGER_MAX = 2 ** 53;
const EXPONENT_FROM = 1e16;
const EXPONENT_BELOW = 1e-5;

/** The canonical text. Throws UnreadableError for a value that JSON does not have. */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return numberText(value);
    case "boolean":
      return value ? "true" : "false";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? listText(value) : objectText(value as Record<string, unknown>);
    default:
      throw new UnreadableError(`a value of type ${typeof value}`);
  }
}

function listText(values: unknown[]): string {
  return `[${values.map(canonicalJson).join(",")}]`;
}

function objectText(members: Record<string, unknown>): string {
  const keys = Object.keys(members).sort(byCodePoint);
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(members[key])}`).join(",")}}`;
}

/**
 * The order of code points. `sort()` without it compares UTF-16 units, and would put U+1D435 before
 * U+FFFD.
 */
export function byCodePoint(left: string, right: string): number {
  let at = 0;
  while (at < left.length && at < right.length) {
    const one = left.codePointAt(at) as number;
    const other = right.codePointAt(at) as number;
    if (one !== other) return one - other;
    at += one > 0xffff ? 2 : 1;
  }
  return left.length - right.length;
}

/** One text for each number: 1, 1.0 and 1e0 are the same. Integers up to 2^53 have no point. */
export function numberText(value: number): string {
  if (!Number.isFinite(value)) throw new UnreadableError("a number beyond the doubles");
  const size = Math.abs(value);
  if (size >= EXPONENT_FROM || (size < EXPONENT_BELOW && size > 0)) return value.toExponential();
  return size > EXACT_INTEGER_MAX ? `${value}.0` : String(value);
}

/**
 * Signatures of requests and answers: HMAC-SHA256 with the key that q2v and this Worker share
 * (migrate/cloudflare/verifier/protocol.py is the other side).
 *
 * A request's signature covers its time and a number that is used once, an answer's covers the
 * request's. So an old answer fits no new request.
 */

import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";

export const TIME_HEADER = "x-q2v-time";
export const NONCE_HEADER = "x-q2v-nonce";
export const SIGNATURE_HEADER = "x-q2v-hmac";
export const KEY_LENGTH_MIN = 32; // characters
const TIME_DIFFERENCE_S_MAX = 120;
const NONCE = /^[0-9a-f]{32}$/;
const TIME = /^[0-9]{1,12}$/;
const SIGNATURE = /^[0-9a-f]{64}$/;

/** The request's signature, in hex, when it is right and recent; else null. */
export function checkRequest(
  key: string,
  request: { method: string; path: string; headers: Headers; body: Uint8Array },
  nowMs: number,
): string | null {
  const time = request.headers.get(TIME_HEADER) ?? "";
  const nonce = request.headers.get(NONCE_HEADER) ?? "";
  const given = request.headers.get(SIGNATURE_HEADER) ?? "";
  if (!TIME.test(time) || !NONCE.test(nonce) || !SIGNATURE.test(given)) return null;
  const head = `q2v request 1\n${request.method} ${request.path}\n${time}\n${nonce}\n`;
  const expected = createHmac("sha256", key).update(head).update(request.body).digest();
  if (!timingSafeEqual(expected, Buffer.from(given, "hex"))) return null;
  return Math.abs(nowMs / 1000 - Number(time)) <= TIME_DIFFERENCE_S_MAX ? given : null;
}

/** The signature of an answer to the request with that signature. */
export function signAnswer(key: string, request: string, status: number, body: string): string {
  const head = `q2v answer 1\n${request}\n${status}\n`;
  return createHmac("sha256", key).update(head).update(body, "utf8").digest("hex");
}

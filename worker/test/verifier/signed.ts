/** Requests as q2v signs them. */

import { createHmac, randomBytes } from "node:crypto";
import { PREFIX_BYTES } from "../../src/verifier/question.ts";
import { NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER } from "../../src/verifier/signature.ts";

export const KEY = "0123456789abcdef0123456789abcdef";

export function signed(
  method: string,
  path: string,
  body: Uint8Array = new Uint8Array(),
  how: { key?: string; time?: number } = {},
): Request {
  const sent = method === "GET" ? new Uint8Array() : body;
  const time = String(Math.floor(how.time ?? Date.now() / 1000));
  const nonce = randomBytes(16).toString("hex");
  const signature = createHmac("sha256", how.key ?? KEY)
    .update(`q2v request 1\n${method} ${path}\n${time}\n${nonce}\n`)
    .update(sent)
    .digest("hex");
  return new Request(`https://verifier.example${path}`, {
    method,
    headers: { [TIME_HEADER]: time, [NONCE_HEADER]: nonce, [SIGNATURE_HEADER]: signature },
    ...(method === "GET" ? {} : { body: new Uint8Array(sent) }),
  });
}

/** The body that asks for vectors whose digests are not known. */
export function question(ids: string[]): Uint8Array {
  const pieces = ids.map((id) => {
    const text = Buffer.from(id);
    return Buffer.concat([Buffer.from([text.length]), text, Buffer.alloc(PREFIX_BYTES)]);
  });
  return new Uint8Array(Buffer.concat(pieces));
}

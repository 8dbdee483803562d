/** The body of a question: per vector a length, the id, and the first bytes of its digest. */

export const VECTORS_MAX = 2000;
const ID_BYTES_MAX = 64;
export const PREFIX_BYTES = 8; // of the 32 of a digest; the others can only be known by reading
export const BODY_BYTES_MAX = VECTORS_MAX * (1 + ID_BYTES_MAX + PREFIX_BYTES);

/** One vector that is to be read, and how its digest should begin. */
export interface Asked {
  id: string;
  prefix: Uint8Array;
}

// A byte order mark at the beginning of an id belongs to it.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The vectors of a question, in order; null when the body is none. */
export function readQuestion(body: Uint8Array): Asked[] | null {
  const asked: Asked[] = [];
  const ids = new Set<string>();
  let at = 0;
  while (at < body.length) {
    const idBytes = body[at] as number;
    const end = at + 1 + idBytes + PREFIX_BYTES;
    if (idBytes < 1 || idBytes > ID_BYTES_MAX || end > body.length) return null;
    const id = decode(body.subarray(at + 1, at + 1 + idBytes));
    if (id === null || ids.has(id) || asked.length === VECTORS_MAX) return null;
    ids.add(id);
    asked.push({ id, prefix: body.subarray(end - PREFIX_BYTES, end) });
    at = end;
  }
  return asked.length > 0 ? asked : null;
}

function decode(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** The whole body of a request; null when it is longer than a question may be, or cut off. */
export async function readBody(request: Request): Promise<Uint8Array | null> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_BYTES_MAX) return null;
  if (request.body === null) return new Uint8Array();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of request.body as AsyncIterable<Uint8Array>) {
      size += piece.length;
      if (size > BODY_BYTES_MAX) return null;
      pieces.push(piece);
    }
  } catch {
    return null;
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

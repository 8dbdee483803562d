/** Requests on loopback. Their connections stay open, and they take half the CPU time of `fetch`. */

import { Agent, request } from "node:http";

const OPEN = new Agent({ keepAlive: true });

/** What a request may have. */
export interface Given {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
}

/** The text of the answer, whatever its status. */
export function ask(
  url: string,
  { method = "GET", headers, body, signal }: Given = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { method, agent: OPEN, ...(headers && { headers }), ...(signal && { signal }) };
    const asked = request(url, options, (answer) => {
      const pieces: Buffer[] = [];
      answer.on("data", (piece: Buffer) => pieces.push(piece));
      answer.once("end", () => resolve(Buffer.concat(pieces).toString()));
      answer.once("error", reject);
    });
    asked.once("error", reject);
    asked.end(body);
  });
}

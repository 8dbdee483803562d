/** Print the digest of each vector of a file of JSON lines, in hex; `unreadable` for a line that is none. */

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { digestVector } from "../../src/verifier/digest.ts";
import { UnreadableError } from "../../src/verifier/unreadable.ts";

const lines = createInterface({ input: createReadStream(process.argv[2] as string) });
for await (const line of lines) process.stdout.write(`${digestOf(line)}\n`);

function digestOf(line: string): string {
  try {
    return Buffer.from(digestVector(JSON.parse(line))).toString("hex");
  } catch (error) {
    if (error instanceof UnreadableError) return "unreadable";
    throw error;
  }
}

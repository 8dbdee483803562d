/** Repeat what may be repeated. All requests of the store may: they write whole values. */

import { PreconditionError, RemoteUnavailableError, TargetRefusedError } from "./errors";

/** How often a request is sent, and how long it waits in between. */
export interface RetryRules {
  /** Times that one request is sent, the first included. */
  readonly attempts: number;
  /** Wait before the second one; doubled for each further one, and varied by half. */
  readonly pauseMs: number;
  /** The same where a service says that it is asked too fast. */
  readonly busyPauseMs: number;
}

export const DEFAULT_RETRY: RetryRules = { attempts: 4, pauseMs: 250, busyPauseMs: 1_100 };

/** What an error of a binding means. */
export type Verdict = "busy" | "repeat" | "refused" | "no index" | "used up";

const BUSY_CODES = new Set([40041, 971, 10429]);
const NO_INDEX_CODES = new Set([3000, 3005]);
const REPEATED_STATUSES = new Set([408, 425]);

/** Read the text of a binding's error: it has no other members. */
export function verdictOf(error: unknown): Verdict {
  const message = error instanceof Error ? error.message : String(error);
  if (/too many subrequests/i.test(message)) {
    return "used up";
  }
  const code = /_ERROR \(code = (\d+)\)/.exec(message)?.[1];
  if (code !== undefined) {
    return verdictOfCode(Number(code));
  }
  const status = /(?:Status \+? ?|failed: )(\d{3})\b/.exec(message)?.[1];
  return status === undefined ? "repeat" : verdictOfStatus(Number(status));
}

function verdictOfCode(code: number): Verdict {
  if (BUSY_CODES.has(code)) {
    return "busy";
  }
  return NO_INDEX_CODES.has(code) ? "no index" : "refused";
}

function verdictOfStatus(status: number): Verdict {
  if (status === 429) {
    return "busy";
  }
  return status >= 500 || REPEATED_STATUSES.has(status) ? "repeat" : "refused";
}

/**
 * Send a request until it is answered.
 *
 * Throws PreconditionError without an index, TargetRefusedError when the service says no, and
 * RemoteUnavailableError after the last attempt.
 */
export async function repeat<Answer>(
  what: string,
  rules: RetryRules,
  send: () => Promise<Answer>,
): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      const verdict = verdictOf(error);
      if (verdict !== "busy" && verdict !== "repeat") {
        throw translated(what, verdict, error);
      }
      if (attempt >= rules.attempts) {
        throw new RemoteUnavailableError(
          `${what}: failed ${attempt} times, last with: ${messageOf(error)}`,
          "make the same call again: it is safe, and completes what was begun",
          { cause: error },
        );
      }
      const first = verdict === "busy" ? rules.busyPauseMs : rules.pauseMs;
      await pause(first * 2 ** (attempt - 1) * (1 + Math.random() / 2));
    }
  }
}

/** Wait. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function translated(what: string, verdict: Verdict, error: unknown): Error {
  const found = `${what}: ${messageOf(error)}`;
  const options = { cause: error };
  switch (verdict) {
    case "no index":
      return new PreconditionError(
        found,
        "there is no such index: run `q2v provision`, or correct the binding",
        options,
      );
    case "used up":
      return new RemoteUnavailableError(
        found,
        "make the same call in a new invocation, or raise limits.subrequests in wrangler's file",
        options,
      );
    default:
      return new TargetRefusedError(found, "correct what the service names", options);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a call of the store can end with. Each says what was found and what to do next. */

/** Base of all errors that the store throws on purpose; any other error is a defect. */
export class FileStoreError extends Error {
  /** What to do next, in one sentence. */
  readonly remedy: string;

  /** `message` has both, because a log often shows nothing else. */
  constructor(what: string, remedy: string, options?: ErrorOptions) {
    super(`${what}; ${remedy}`, options);
    this.remedy = remedy;
  }
}

/** `1 vector`, `2 vectors`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The arguments cannot be meant. Nothing was sent: correct the call. */
export class UsageError extends FileStoreError {
  override name = "UsageError";
}

/** The index or an entry is not as the store needs it. Repeating does not help. */
export class PreconditionError extends FileStoreError {
  override name = "PreconditionError";
}

/** The service has refused a request. Repeating does not help. */
export class TargetRefusedError extends FileStoreError {
  override name = "TargetRefusedError";
}

/** A service keeps failing. Make the same call again: that is safe, and completes it. */
export class RemoteUnavailableError extends FileStoreError {
  override name = "RemoteUnavailableError";
}

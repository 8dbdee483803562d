/** How much of what repeats is run. */

const { WORKER_TESTS: chosen } = process.env;

/**
 * Whether all of it is: every seed, and every kind of call after every kill. `make check` of q2v sets
 * the variable to `some` (tests/worker/test_store.py); whatever else starts these tests runs all.
 */
export const RUNS_ALL = chosen !== "some";

/** Of the seeds from 0 to `count` - 1 the first fifth, or all. */
export function seeds(count: number): number[] {
  return Array.from({ length: RUNS_ALL ? count : Math.ceil(count / 5) }, (_, seed) => seed);
}

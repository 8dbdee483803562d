/** Divide what is sent into requests that the services take. Pure. */

/** Group items, in order, into slices of `sizeMax`; never an empty one. */
export function slices<Item>(items: readonly Item[], sizeMax: number): Item[][] {
  const found: Item[][] = [];
  for (let first = 0; first < items.length; first += sizeMax) {
    found.push(items.slice(first, first + sizeMax));
  }
  return found;
}

/** Group items, in order, by count and bytes; an item alone may exceed `bytesMax`. */
export function batches<Item extends { readonly bytesMax: number }>(
  items: readonly Item[],
  limits: { readonly countMax: number; readonly bytesMax: number },
): Item[][] {
  const found: Item[][] = [];
  let held: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const isFull = held.length === limits.countMax || bytes + item.bytesMax > limits.bytesMax;
    if (held.length > 0 && isFull) {
      found.push(held);
      held = [];
      bytes = 0;
    }
    held.push(item);
    bytes += item.bytesMax;
  }
  return held.length > 0 ? [...found, held] : found;
}

/** Run `task` for each item, at most `lanes` at once; the answers in the order of the items. */
export async function inLanes<Item, Answer>(
  items: readonly Item[],
  lanes: number,
  task: (item: Item) => Promise<Answer>,
): Promise<Answer[]> {
  const answers: Answer[] = new Array(items.length);
  const rest = items.entries();
  const lane = async (): Promise<void> => {
    for (const [at, item] of rest) {
      answers[at] = await task(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, items.length) }, lane));
  return answers;
}

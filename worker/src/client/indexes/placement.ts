/**
 * In which index of a collection a file is: rendezvous hashing (decision 0076). Pure.
 *
 * The index with the largest SHA-256 of index name, a zero byte and the file's id, all in UTF-8. The order of
 * the names does not matter, and one more name moves only files to the new index.
 */

const UTF8 = new TextEncoder();

/** The names, those with a larger hash first: a new file goes to the first one. */
export async function ranked(names: readonly string[], fileId: string): Promise<string[]> {
  const hashed = await Promise.all(
    names.map(async (name) => {
      const hash = await crypto.subtle.digest("SHA-256", UTF8.encode(`${name}\u0000${fileId}`));
      return { name, hash: new Uint8Array(hash) };
    }),
  );
  return hashed.sort((one, other) => compare(other.hash, one.hash)).map(({ name }) => name);
}

function compare(one: Uint8Array, other: Uint8Array): number {
  const at = one.findIndex((byte, position) => byte !== other[position]);
  return at === -1 ? 0 : (one[at] ?? 0) - (other[at] ?? 0);
}

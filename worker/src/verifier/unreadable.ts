/** A record of the index that cannot be read as a vector. Others of the same answer can. */
export class UnreadableError extends Error {}

/** A vector store for a sync service in a Worker. `VectorizeClient` is the way in. */

export type { FileVector } from "./check";
export {
  type CollectionInfo,
  type StoredVector,
  VectorizeClient,
  type VectorizeClientOptions,
} from "./client";
export {
  FileStoreError,
  PreconditionError,
  RemoteUnavailableError,
  TargetRefusedError,
  UsageError,
} from "./errors";
export type { VectorizeBindings } from "./indexes/indexes";
export { DEFAULT_RULES, type FileChunk, type FileStoreRules } from "./rules";

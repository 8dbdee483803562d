"""What a file store promises, whichever services are behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from migrate.model.records import VectorId


class FileChunk(NamedTuple):
    """What a vector id names."""

    file_id: str
    chunk_index: int  # from 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays have no single truth value
class FileVector:
    """One chunk of a file, as it is written and as it is read."""

    id: VectorId  # what `generate_vector_id` makes of the file and the chunk in the metadata
    values: Sequence[float] | npt.NDArray[np.float32]  # shape (dimensions,); read: a float32 array
    metadata: Mapping[str, object]  # the file's id, the chunk's number, its hash, and more


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A collection, or a vector index, as its service describes it now."""

    name: str
    dimensions: int
    metric: str  # cosine, euclidean, dot-product
    vectors: int  # those of other writers included


class FileStore(Protocol):
    """The chunks of files as vectors. `QdrantFileStore` and `VectorizeFileStore` provide it.

    One process writes, one call after the other; any number of processes read. A call that writes
    returns when its writes are applied. It is not atomic: after an error or a kill, make the same
    call again, and the store is as after one undisturbed call. Ids that do not exist are no error.

    Every method raises UsageError for arguments that cannot be meant, before anything is sent;
    PreconditionError when the collection does not exist or has another shape; AccessError; and
    RemoteUnavailableError after its own retries.
    """

    def initialize_collection(self) -> None:
        """Create the collection with its indexes where they are missing. May be repeated."""

    def upsert_vectors(self, vectors: Sequence[FileVector], *, whole_files: bool = False) -> None:
        """Write the vectors; those with the same ids are replaced as a whole.

        Other vectors of the same files stay. With `whole_files` the files hold exactly `vectors`
        afterwards: their other vectors are removed, as when a file has become shorter.

        Raises UsageError, and sends nothing, when one of them has another number of dimensions, a
        value that is not finite, only zeros under the cosine metric, metadata that the target
        cannot hold, an id that its metadata does not make, or an id that occurs twice.
        """

    def get_vectors_by_file_id(self, file_id: str) -> list[FileVector]:
        """The vectors of a file by ascending chunk number; empty for an unknown file.

        Values are float32. Under the cosine metric Qdrant returns them with length 1.
        """

    def delete_vectors_by_ids(self, ids: Sequence[str]) -> None:
        """Remove the vectors. Raises UsageError for an id that `generate_vector_id` never makes."""

    def delete_vectors_by_file_id(self, file_id: str) -> None:
        """Remove all vectors of a file."""

    def get_collection_info(self) -> CollectionInfo:
        """Name, shape and size of the collection."""

    def count_vectors(self) -> int:
        """The exact number of vectors in the collection, those of other writers included."""

    def generate_vector_id(self, file_id: str, chunk_index: int) -> VectorId:
        """The id of a chunk. Raises UsageError for one of more than 64 bytes."""

    def parse_vector_id(self, vector_id: str) -> FileChunk | None:
        """The inverse of `generate_vector_id`; None for an id that it never makes."""

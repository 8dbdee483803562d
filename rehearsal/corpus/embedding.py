"""Embed texts with a model that ships inside its wheel, and widen the result."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

MODEL_DIMENSIONS = 256
_SEED = 20_261_123
_BATCH_TEXTS = 64


@cache
def load_model() -> Any:
    """The model from its own wheel; never downloads.

    Raises RuntimeError naming the package when it is not installed as needed.
    """
    try:
        import wordllama  # noqa: PLC0415 - a second to import, needed here only
        from wordllama import WordLlama  # noqa: PLC0415

        # The wheel keeps its tokenizer where the default look-up does not find it.
        folder = Path(wordllama.__file__).parent
        return WordLlama.load(cache_dir=folder, disable_download=True)
    except (ImportError, OSError, ValueError) as error:
        raise RuntimeError(
            f"the rehearsal's embedding model cannot be loaded ({error}); "
            "install wordllama==0.4.0.post1, which holds it"
        ) from error


def embed_texts(texts: Sequence[str], dimensions: int) -> npt.NDArray[np.float32]:
    """Unit vectors, shape (len(texts), dimensions), of which 256 dimensions carry meaning.

    The texts go through the model in fixed batches of 64, in their order.
    """
    model = load_model()
    rows = [
        model.embed(list(texts[start : start + _BATCH_TEXTS]), norm=True, batch_size=_BATCH_TEXTS)
        for start in range(0, len(texts), _BATCH_TEXTS)
    ]
    if not rows:
        return np.zeros((0, dimensions), np.float32)
    return _widen(np.concatenate(rows), dimensions)


def _widen(narrow: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Multiply by a fixed orthonormal matrix, in double precision with one rounding.

    In one thread: several that wait for each other take ten times as much CPU.
    """
    with threadpool_limits(1):
        wide = narrow.astype(np.float64) @ _projection(dimensions)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float32)


@cache
def _projection(dimensions: int) -> npt.NDArray[np.float64]:
    """Shape (256, dimensions), orthonormal rows: lengths and angles are kept."""
    if dimensions < MODEL_DIMENSIONS:
        raise ValueError(f"{dimensions} dimensions; at least {MODEL_DIMENSIONS} keep the angles")
    square = np.random.default_rng(_SEED).standard_normal((dimensions, MODEL_DIMENSIONS))
    orthonormal, _ = np.linalg.qr(square)
    return np.ascontiguousarray(orthonormal.T)

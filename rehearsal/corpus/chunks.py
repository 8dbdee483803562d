"""Split a text into chunks at paragraphs and sentences. Pure."""

import re

CHUNK_CHARACTERS_MAX = 1_200
PIECE_CHARACTERS_MAX = 400  # so that a chunk can begin in the middle of the one before
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")


def split_chunks(text: str) -> list[str]:
    """Chunks of at most 1,200 characters, in order, none of them blank.

    Each begins about half-way through the one before, as is usual for retrieval: text at the
    border of one chunk is in the middle of the next. Paragraphs are kept whole if they fit;
    longer ones are cut at sentences, and longer sentences at the limit.
    """
    pieces = _pieces(text)
    chunks: list[str] = []
    start = 0
    while start < len(pieces):
        end = _end(pieces, start, CHUNK_CHARACTERS_MAX)
        chunks.append("\n\n".join(pieces[start:end]))
        if end == len(pieces):
            break
        start = max(start + 1, _end(pieces, start, CHUNK_CHARACTERS_MAX // 2))
    return chunks


def _end(pieces: list[str], start: int, characters_max: int) -> int:
    """One past the last piece that still fits; at least one piece."""
    end, size = start + 1, len(pieces[start])
    while end < len(pieces) and size + 2 + len(pieces[end]) <= characters_max:
        size += 2 + len(pieces[end])
        end += 1
    return end


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for paragraph in text.split("\n\n"):
        stripped = paragraph.strip()
        if len(stripped) <= PIECE_CHARACTERS_MAX:
            pieces.append(stripped)
            continue
        for sentence in _SENTENCE.split(stripped):
            pieces += [
                sentence[start : start + PIECE_CHARACTERS_MAX]
                for start in range(0, len(sentence), PIECE_CHARACTERS_MAX)
            ]
    return [piece for piece in pieces if piece.strip()]

"""A source with real text: the documentation in every Python, in an embedded Qdrant.

The texts are the language reference topics and the docstrings of the standard library (PSF
licence). Each document plays a Drive file with an id of 33 characters, a name, a path and a time;
each chunk carries its SHA-256 and a preview of 1,000 characters. The embeddings come from a real
model that ships inside its wheel (wordllama, 256 values); a fixed orthonormal projection brings
them to the width asked for, so neighbours stay neighbours, but the extra width holds nothing new:
the payload says "synthetic width". The same bytes every time, on one machine and its libraries.
"""

from rehearsal.corpus.build import COLLECTION, CorpusReport, build_corpus

__all__ = ["COLLECTION", "CorpusReport", "build_corpus"]

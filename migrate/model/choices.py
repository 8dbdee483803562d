"""The words of the choices that an operator has; every other module takes them from here."""

from typing import Literal

TransportChoice = Literal["auto", "grpc", "rest"]  # to a Qdrant server
Compression = Literal["identity", "gzip"]  # of a Qdrant server's answers
Reduce = Literal["none", "matryoshka"]  # of values to fewer dimensions
Nulls = Literal["quarantine", "leave_out"]  # a payload field that is null
GroupType = Literal["text", "integer"]  # of the payload field that names the file
HashMismatch = Literal["warn", "quarantine"]  # a point whose hash is not that of its text
Jurisdiction = Literal["eu", "us", "fedramp"]  # kv-jurisdictions-ga, 2026-10-02; set at creation

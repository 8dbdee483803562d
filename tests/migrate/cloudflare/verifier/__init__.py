"""Tests of the verifier at the edge: digests in JavaScript, the protocol, the adapter."""

"""Tests of the adapters, over real files and real sockets."""

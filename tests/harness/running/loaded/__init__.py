"""Processes of q2v that begin with its code loaded: a start takes 30 ms instead of 700.

A process that has loaded the product waits beside the tests and forks for each start. What starts
is a process as any other: with its own environment, folder, streams and signals, and a child of the
tests. Tests of the start itself use `programs.start_python`.
"""

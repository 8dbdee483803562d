"""Killed, stopped, out of disk or memory: the same command goes on."""

"""The rehearsal and the sandbox: the extra `rehearsal`."""

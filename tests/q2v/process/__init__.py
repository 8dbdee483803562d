"""The command as a process: how it starts, completes words, ends, and with how much memory."""

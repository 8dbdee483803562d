"""The rehearsal: a whole move into the sandbox, with planted drift, crashes and a way back."""

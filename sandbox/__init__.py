"""Local stand-ins for a rehearsal: the target's APIs, and a source with real text."""

"""One module for each command: parse, call the library, show what came of it."""

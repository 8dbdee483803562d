"""A Worker's bindings to the target, merged into the file that wrangler reads."""

"""After the cutover: what watches the target, and what keeps the evidence."""

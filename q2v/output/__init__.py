"""What the operator sees: results, progress, errors, logs."""

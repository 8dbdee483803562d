"""What the benchmarks promise, in one minute: ratios of CPU time with slack, and sizes."""

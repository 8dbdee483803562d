"""Every fault at every instant: crash points, simulated bad days, operators, planted bugs."""

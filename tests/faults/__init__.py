"""Every fault at every instant: crash points, simulated cutovers, operators, planted bugs."""

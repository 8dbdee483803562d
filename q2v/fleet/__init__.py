"""Many moves with a budget for each account: fleet.toml, order, processes and report."""

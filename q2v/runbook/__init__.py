"""The runbook: the steps of a migration with its names, counts and minutes. Decision 0046."""

"""What q2v's own words mean, and what to do about them: `q2v explain` and the tables in docs/."""

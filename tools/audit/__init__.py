"""What the project is built from: is it what was locked, is it known to be broken, what is it."""

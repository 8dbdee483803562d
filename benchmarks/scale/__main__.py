"""`python -m benchmarks.scale` starts here."""

from benchmarks.scale.command import main

if __name__ == "__main__":
    main()

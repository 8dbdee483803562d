"""`python -m q2v`: the command without its installed script."""

from q2v.main import main

main()

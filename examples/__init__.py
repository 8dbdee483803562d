"""Programs of docs/tutorial.md. Each of them also runs alone: `python examples/NAME.py`."""

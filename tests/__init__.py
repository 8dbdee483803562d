"""The specification, runnable. README.md says what each folder holds."""

"""The command that runs the commands of many moves."""

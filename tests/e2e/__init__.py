"""The whole tool between two small real servers: commands in, exit codes and files out."""

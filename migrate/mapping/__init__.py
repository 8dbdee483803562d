"""What a point becomes: id, metadata, values, KV entry, or a reason for quarantine. Pure."""

"""Records of both services, their canonical form and digests, values and limits. Pure."""

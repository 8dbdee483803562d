"""Where parts are read, mapped and searched: by this machine, or by the workers of a cluster."""

"""Where ranges are read: by this machine, or by the workers of a cluster that exists already."""

"""Pure rules: values in, values out, the same bytes every time."""

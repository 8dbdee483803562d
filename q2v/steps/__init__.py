"""Start the stages in their order; commands and the rehearsal share these."""

"""Lightning modules, one objective per file."""

"""Turn titles into slugs."""

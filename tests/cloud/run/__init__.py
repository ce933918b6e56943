"""Cloud Run's Admin API: services and their revisions."""

"""Cloud Run: its Admin API, and behind it revisions that are real processes."""

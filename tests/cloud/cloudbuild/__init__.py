"""Cloud Build: triggers, and the connections and repositories of the second generation."""

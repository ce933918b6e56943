"""Cloud Logging: entries and the language that filters them; metrics, sinks and log buckets."""

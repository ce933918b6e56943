"""Cloud Logging: metrics, sinks and log buckets."""

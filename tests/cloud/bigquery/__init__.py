"""BigQuery: datasets and tables."""

"""Cloud Monitoring: time series, how they are asked for, and which alerts fire on them."""

"""Cloud Monitoring: channels, alert policies, services with objectives, uptime checks, dashboards."""

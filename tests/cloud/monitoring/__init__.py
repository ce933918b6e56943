"""Cloud Monitoring: time series and how they are asked for; alert policies, objectives, channels, dashboards."""

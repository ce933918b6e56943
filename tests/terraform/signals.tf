resource "google_logging_metric" "main" {
  name        = "churn/requests"
  description = var.mark
  filter      = "resource.type=\"cloud_run_revision\" AND jsonPayload.record=\"prediction\""

  label_extractors = { outcome = "EXTRACT(jsonPayload.outcome)" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key        = "outcome"
      value_type = "STRING"
    }
  }
}

resource "google_logging_metric" "distribution" {
  name            = "churn/latency"
  filter          = "resource.type=\"cloud_run_revision\""
  value_extractor = "EXTRACT(jsonPayload.latency_ms)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
  }

  bucket_options {
    exponential_buckets {
      growth_factor      = 1.4
      num_finite_buckets = 64
      scale              = 0.1
    }
  }
}

resource "google_monitoring_notification_channel" "main" {
  display_name = "mail ${var.mark}"
  type         = "email"
  labels       = { email_address = "team@example.com" }
}

resource "google_monitoring_notification_channel" "secret" {
  display_name = "slack"
  type         = "slack"
  labels       = { channel_name = "#team" }

  sensitive_labels {
    auth_token = "secret"
  }
}

resource "google_monitoring_custom_service" "main" {
  service_id   = "churn"
  display_name = "churn ${var.mark}"
}

resource "google_monitoring_slo" "availability" {
  service             = google_monitoring_custom_service.main.service_id
  slo_id              = "availability"
  display_name        = "availability"
  goal                = var.mark == "a" ? 0.995 : 0.99
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      good_service_filter  = "metric.type=\"run.googleapis.com/request_count\" resource.type=\"cloud_run_revision\" metric.labels.response_code_class=\"2xx\""
      total_service_filter = "metric.type=\"run.googleapis.com/request_count\" resource.type=\"cloud_run_revision\""
    }
  }
}

resource "google_monitoring_slo" "latency" {
  service             = google_monitoring_custom_service.main.service_id
  slo_id              = "latency"
  goal                = 0.9
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = "metric.type=\"run.googleapis.com/request_latencies\" resource.type=\"cloud_run_revision\""

      range {
        max = var.mark == "a" ? 300 : 400
      }
    }
  }
}

resource "google_monitoring_alert_policy" "promql" {
  display_name          = "churn fails ${var.mark}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.main.name]
  severity              = "CRITICAL"
  user_labels           = { owner = "team" }

  conditions {
    display_name = "requests"

    condition_prometheus_query_language {
      disable_metric_validation = true
      duration                  = "60s"
      evaluation_interval       = "30s"
      query                     = "rate(logging_googleapis_com:user_churn_requests[5m]) > 1"
    }
  }

  documentation {
    content   = "What to do."
    mime_type = "text/markdown"

    links {
      display_name = "runbook"
      url          = "https://example.com/runbook"
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  display_name = "churn burns"
  combiner     = "AND"

  alert_strategy {
    auto_close = "604800s"
  }

  conditions {
    display_name = "fast"

    condition_threshold {
      comparison      = "COMPARISON_GT"
      duration        = "0s"
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.availability.name}\", \"3600s\")"
      threshold_value = var.mark == "a" ? 14.4 : 10
    }
  }

  conditions {
    display_name = "silence"

    condition_absent {
      duration = "3600s"
      filter   = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\""

      aggregations {
        alignment_period     = "300s"
        cross_series_reducer = "REDUCE_SUM"
        per_series_aligner   = "ALIGN_RATE"
      }
    }
  }

  conditions {
    display_name = "processor"

    condition_threshold {
      comparison      = "COMPARISON_GT"
      duration        = "300s"
      filter          = "metric.type=\"run.googleapis.com/container/cpu/utilizations\" AND resource.type=\"cloud_run_revision\""
      threshold_value = 0.9

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_PERCENTILE_99"
      }

      trigger {
        count = 1
      }
    }
  }
}

resource "google_monitoring_uptime_check_config" "main" {
  display_name = "churn up ${var.mark}"
  period       = "300s"
  timeout      = "10s"

  http_check {
    path         = "/health/ready"
    use_ssl      = true
    validate_ssl = true

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      host       = trimprefix(google_cloud_run_v2_service.main.uri, "https://")
      project_id = var.project
    }
  }
}

resource "google_monitoring_dashboard" "main" {
  dashboard_json = jsonencode({
    displayName = "churn ${var.mark}"
    mosaicLayout = {
      columns = 48
      tiles = [
        {
          width  = 24
          height = 16
          widget = {
            title = "Requests"
            xyChart = {
              dataSets = [{
                plotType        = "LINE"
                timeSeriesQuery = { prometheusQuery = "sum(rate(run_googleapis_com:request_count[5m]))" }
              }]
            }
          }
        },
        {
          width  = 24
          height = 16
          xPos   = 24
          widget = { title = "Notes", text = { content = "hello", format = "MARKDOWN" } }
        },
      ]
    }
  })
}

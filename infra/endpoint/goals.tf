# What the endpoint promises its callers, from model.yaml, as service level objectives over four weeks; and who is told
# when the share of failures that they allow is used up too fast.
locals {
  requests_filter = "resource.type=\"cloud_run_revision\" resource.labels.service_name=\"${var.name}\""
  request_count   = "metric.type=\"run.googleapis.com/request_count\" ${local.requests_filter}"

  # A window each for how long and for whether it still goes on; the factors use up 2 % of the budget in an hour and
  # 10 % in a day (Site Reliability Workbook, chapter 5).
  burns = {
    fast = { factor = 13.44, long = "3600s", short = "300s", severity = "CRITICAL", title = "burns fast", text = "At this rate all that the goal allows in four weeks is used up in two days." }
    slow = { factor = 2.8, long = "86400s", short = "7200s", severity = "WARNING", title = "burns slowly", text = "At this rate all that the goal allows in four weeks is used up in ten days." }
  }

  objectives = {
    availability = { id = google_monitoring_slo.availability.name, title = "The availability budget", text = "${format("%.6g", 100 * var.goals.availability)} % of all requests are to be answered without a 5xx." }
    latency      = { id = google_monitoring_slo.latency.name, title = "The latency budget", text = "${format("%.6g", 100 * var.goals.latency_goal)} % of all answers are to arrive within ${var.goals.latency_ms} ms, cold starts included." }
  }

  burn_alerts = merge([for objective, goal in local.objectives : {
    for burn, rate in local.burns : "${objective}-${burn}" => merge(rate, {
      id    = goal.id
      text  = "${goal.text} ${rate.text}"
      title = "${goal.title} ${rate.title}"
    })
  }]...)
}

resource "google_monitoring_custom_service" "main" {
  display_name = "Predictions of ${var.model}"
  service_id   = var.name

  telemetry {
    resource_name = "//run.googleapis.com/projects/${var.project}/locations/${var.region}/services/${var.name}"
  }
}

resource "google_monitoring_slo" "availability" {
  display_name        = "${format("%.6g", 100 * var.goals.availability)} % of requests are answered"
  goal                = var.goals.availability
  rolling_period_days = 28
  service             = google_monitoring_custom_service.main.service_id
  slo_id              = "${var.name}-availability"

  request_based_sli {
    good_total_ratio {
      bad_service_filter   = "${local.request_count} metric.labels.response_code_class=\"5xx\""
      total_service_filter = local.request_count
    }
  }
}

resource "google_monitoring_slo" "latency" {
  display_name        = "${format("%.6g", 100 * var.goals.latency_goal)} % of answers arrive within ${var.goals.latency_ms} ms"
  goal                = var.goals.latency_goal
  rolling_period_days = 28
  service             = google_monitoring_custom_service.main.service_id
  slo_id              = "${var.name}-latency"

  request_based_sli {
    distribution_cut {
      distribution_filter = "metric.type=\"run.googleapis.com/request_latencies\" ${local.requests_filter} metric.labels.response_code_class=\"2xx\""
      range {
        max = var.goals.latency_ms
      }
    }
  }
}

resource "google_monitoring_alert_policy" "burn" {
  for_each = local.burn_alerts

  combiner              = "AND"
  display_name          = "${each.value.title} (${var.name})"
  notification_channels = var.channels
  severity              = each.value.severity
  user_labels           = { model = var.model, owner = local.owner_label }

  alert_strategy {
    auto_close = "86400s"
  }

  dynamic "conditions" {
    for_each = { long = each.value.long, short = each.value.short }
    content {
      display_name = "${each.value.title}: over ${conditions.value}"
      condition_threshold {
        comparison      = "COMPARISON_GT"
        duration        = "0s"
        filter          = "select_slo_burn_rate(\"${each.value.id}\", \"${conditions.value}\")"
        threshold_value = each.value.factor
        trigger {
          count = 1
        }
      }
    }
  }

  # One failure of three requests is no trend.
  conditions {
    display_name = "${each.value.title}: enough requests"
    condition_threshold {
      comparison      = "COMPARISON_GT"
      duration        = "0s"
      filter          = local.request_count
      threshold_value = 20
      aggregations {
        alignment_period     = each.value.long
        cross_series_reducer = "REDUCE_SUM"
        per_series_aligner   = "ALIGN_DELTA"
      }
      trigger {
        count = 1
      }
    }
  }

  documentation {
    content   = "${each.value.text}\n\nThe model's owner is ${var.owner}."
    mime_type = "text/markdown"
    subject   = "${each.value.title}: ${var.model}"
    links {
      display_name = "Runbook"
      url          = "${var.runbook}#${replace(lower(each.value.title), " ", "-")}"
    }
  }
}

# When someone is told. Queries are PromQL, with the check that their metrics exist switched off: on the first apply
# nothing has been counted yet. Names are headings of the runbook. The monitor's alert on drift belongs here too, with
# goals.drift_threshold.
locals {
  errors_max = tonumber(format("%.6g", min(0.5, 10 * (1 - var.goals.availability)))) # ten times what the goal allows

  run_requests = "run_googleapis_com:request_count{${local.service}}"
  run_errors   = "run_googleapis_com:request_count{${local.service},response_code_class=\"5xx\"}"
  silence      = "${var.endpoint.silence_hours}h"

  alerts = {
    cpu = {
      duration = "600s"
      query    = "histogram_quantile(0.95, sum by (le) (increase(run_googleapis_com:container_cpu_utilizations_bucket{${local.service}}[10m]))) > 0.9"
      severity = "WARNING"
      text     = "For ten minutes, instances have used more than 90 % of their CPU."
      title    = "CPU is nearly used up"
    }
    errors = {
      duration = "0s"
      query    = "sum(increase(${local.run_errors}[10m])) / sum(increase(${local.run_requests}[10m])) > ${local.errors_max} and sum(increase(${local.run_errors}[10m])) >= 3"
      severity = "CRITICAL"
      text     = "More than ${format("%.6g", 100 * local.errors_max)} % of the requests of the last ten minutes were answered with a 5xx, by the service or by Cloud Run for it."
      title    = "Requests fail"
    }
    instances = {
      duration = "300s"
      query    = "max(sum by (revision_name) (run_googleapis_com:container_instance_count{${local.service},state=\"active\"})) >= ${var.endpoint.max_instances} and histogram_quantile(0.5, sum by (le) (increase(run_googleapis_com:container_max_request_concurrencies_bucket{${local.service},state=\"active\"}[5m]))) > ${0.8 * var.endpoint.concurrency}"
      severity = "WARNING"
      text     = "For five minutes, all ${var.endpoint.max_instances} instances have answered nearly as many requests at a time as they may (${var.endpoint.concurrency}). More requests will wait, and then get a 429."
      title    = "Every instance is busy"
    }
    latency = {
      duration = "300s"
      query    = "histogram_quantile(${var.goals.latency_goal}, sum by (le) (increase(${local.metric.total_ms}_bucket{${local.service}}[10m]))) > ${var.goals.latency_ms} and sum(increase(${local.metric.total_ms}_count{${local.service}}[10m])) >= 20"
      severity = "ERROR"
      text     = "Fewer than ${format("%.6g", 100 * var.goals.latency_goal)} % of the answers of the last ten minutes were computed within ${var.goals.latency_ms} ms, the time that model.yaml allows. Cold starts are not counted here."
      title    = "Answers are slow"
    }
    load = {
      duration = "0s"
      query    = "sum(increase(${local.metric.load_failures}{${local.service}}[10m])) > 0"
      severity = "CRITICAL"
      text     = "An instance could not load the pinned version. The service answers 503 from it, and a new revision of it never becomes ready."
      title    = "The model cannot be loaded"
    }
    memory = {
      duration = "300s"
      query    = "histogram_quantile(0.95, sum by (le) (increase(run_googleapis_com:container_memory_utilizations_bucket{${local.service}}[10m]))) > 0.9"
      severity = "ERROR"
      text     = "For five minutes, instances have used more than 90 % of their ${var.endpoint.memory_mib} MiB. At 100 % Cloud Run ends them, with the requests that they are answering."
      title    = "Memory is nearly used up"
    }
    rejections = {
      duration = "0s"
      query    = "sum(increase(${local.metric.rejections}{${local.service}}[30m])) / sum(increase(${local.metric.requests}{${local.service}}[30m])) > 0.2 and sum(increase(${local.metric.rejections}{${local.service}}[30m])) >= 20"
      severity = "WARNING"
      text     = "More than 20 % of the requests of the last half hour were refused for the caller's mistake. A caller has changed, or the model was retrained on other data than callers send."
      title    = "Many requests are refused"
    }
    restarts = {
      duration = "0s"
      query    = "sum(increase(${local.metric.exits}{${local.service}}[30m])) >= 3"
      severity = "ERROR"
      text     = "Three or more instances have ended within half an hour though nobody told them to: a crash, memory, or a liveness probe that was not answered."
      title    = "Instances restart"
    }
    silence = {
      duration = "0s"
      query    = "sum(increase(${local.metric.requests}{${local.service}}[${local.silence}] offset ${local.silence})) > 0 unless sum(increase(${local.metric.requests}{${local.service}}[${local.silence}])) > 0"
      severity = "WARNING"
      text     = "Nobody has asked for ${var.endpoint.silence_hours} hours, and somebody did in the ${var.endpoint.silence_hours} hours before."
      title    = "Nobody asks any more"
    }
  }

  owner_label = substr(replace(lower(var.owner), "/[^a-z0-9_-]/", "_"), 0, 63)
}

resource "google_monitoring_alert_policy" "main" {
  for_each = { for name, alert in merge(local.alerts, local.uptime_alerts) : name => alert if name != "silence" || var.endpoint.silence_hours > 0 }

  combiner              = "OR"
  display_name          = "${each.value.title} (${var.name})"
  notification_channels = var.channels
  severity              = each.value.severity
  user_labels           = { model = var.model, owner = local.owner_label }

  alert_strategy {
    auto_close = "86400s"
  }

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      disable_metric_validation = true
      duration                  = each.value.duration
      evaluation_interval       = "60s"
      query                     = each.value.query
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

  depends_on = [google_logging_metric.counter, google_logging_metric.distribution]
}

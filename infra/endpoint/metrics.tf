# What the service's own records say, as metrics. A metric's name and labels never change: Cloud Monitoring would lose
# what it has. Each costs by its label values, so nothing that callers choose is a label.
locals {
  entries = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.name}\" AND logName=\"projects/${var.project}/logs/run.googleapis.com%2F"
  records = "${local.entries}stdout\""
  system  = "${local.entries}varlog%2Fsystem\""

  answered = "${local.records} AND jsonPayload.kind=\"prediction\""
  requests = "${local.records} AND jsonPayload.kind=(\"prediction\" OR \"rejection\" OR \"failure\")"

  # In milliseconds. The goal is a bound of its own, so that whether it is kept is counted and not guessed.
  latency_bounds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000]
  request_bounds = [for bound in sort([for bound in distinct(concat(local.latency_bounds, [var.goals.latency_ms])) : format("%012.3f", bound)]) : tonumber(bound)]
  load_bounds    = [20, 50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000, 20000, 30000, 60000, 120000]
  count_bounds   = [1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10000, 50000, 100000]

  counters = {
    exits = {
      description = "Instances that ended though nobody told them to"
      filter      = "${local.system} AND textPayload=~\"Container called exit.[1-9]|terminated on signal (4|6|7|8|9|11)[^0-9]|[Mm]emory limit of .* exceeded|LIVENESS .*probe failed\""
      labels      = {}
    }
    load_failures = {
      description = "Loads of the pinned version that failed"
      filter      = "${local.records} AND jsonPayload.kind=\"load_failure\""
      labels      = {}
    }
    rejections = {
      description = "Requests refused for the caller's mistake, by error code"
      filter      = "${local.records} AND jsonPayload.kind=\"rejection\""
      labels      = { code = "jsonPayload.outcome" }
    }
    requests = {
      description = "Requests by outcome and version; outcome is answered or the error code"
      filter      = local.requests
      labels      = { outcome = "jsonPayload.outcome", version = "jsonPayload.version" }
    }
  }

  latencies = {
    predict_ms  = "Time of computing an answered request's predictions"
    total_ms    = "Time from a request's first byte in the function to its answer"
    validate_ms = "Time of checking an answered request's instances"
  }

  distributions = merge(
    {
      cold_loads = {
        bounds      = local.load_bounds
        description = "Time of loading the version on a cold start, from import to replay"
        filter      = "${local.records} AND jsonPayload.kind=\"load\""
        labels      = { source = "jsonPayload.source", version = "jsonPayload.version" }
        unit        = "ms"
        value       = "jsonPayload.total_ms"
      }
      predictions = {
        bounds      = local.count_bounds
        description = "Instances of answered requests: their sum is how many predictions were made"
        filter      = local.answered
        labels      = { version = "jsonPayload.version" }
        unit        = "1"
        value       = "jsonPayload.instances"
      }
    },
    { for field, description in local.latencies : field => {
      bounds      = local.request_bounds
      description = description
      filter      = local.answered
      labels      = { version = "jsonPayload.version" }
      unit        = "ms"
      value       = "jsonPayload.${field}"
    } },
  )

  # By which names queries know the metrics, and the label that picks this service.
  metric  = { for name in concat(keys(local.counters), keys(local.distributions)) : name => "logging_googleapis_com:user_${replace(var.name, "-", "_")}_${name}" }
  service = "monitored_resource=\"cloud_run_revision\",service_name=\"${var.name}\""
}

resource "google_logging_metric" "counter" {
  for_each = local.counters

  description      = each.value.description
  filter           = each.value.filter
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(${field})" }
  name             = "${var.name}/${each.key}"

  metric_descriptor {
    metric_kind = "DELTA"
    unit        = "1"
    value_type  = "INT64"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
}

resource "google_logging_metric" "distribution" {
  for_each = local.distributions

  description      = each.value.description
  filter           = each.value.filter
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(${field})" }
  name             = "${var.name}/${each.key}"
  value_extractor  = "EXTRACT(${each.value.value})"

  bucket_options {
    explicit_buckets {
      bounds = each.value.bounds
    }
  }

  metric_descriptor {
    metric_kind = "DELTA"
    unit        = each.value.unit
    value_type  = "DISTRIBUTION"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
}

# One page for the endpoint: what comes in, what goes wrong, how long it takes, which version answers, what it costs.
locals {
  cost_second = join(" + ", [
    "sum(rate(run_googleapis_com:container_billable_instance_time{${local.service}}[1h])) * ${format("%.6g", var.endpoint.cpu * var.prices.vcpu_second + var.endpoint.memory_mib / 1024 * var.prices.gib_second)}",
    "sum(rate(${local.run_requests}[1h])) * ${format("%.6g", var.prices.million_requests / 1000000)}",
  ])

  charts = [
    { title = "Requests a second, by status", unit = "1/s", lines = {
      "$${labels.response_code_class}" = "sum by (response_code_class) (rate(${local.run_requests}[5m]))"
    } },
    { title = "Outcomes a second", unit = "1/s", lines = {
      "$${labels.outcome}" = "sum by (outcome) (rate(${local.metric.requests}{${local.service}}[5m]))"
    } },
    { title = "Share of errors", unit = "", lines = {
      "5xx" = "sum(rate(${local.run_errors}[10m])) / sum(rate(${local.run_requests}[10m]))"
    } },
    { title = "Latency at Cloud Run, ms", unit = "ms", lines = {
      "median"          = "histogram_quantile(0.5, sum by (le) (rate(run_googleapis_com:request_latencies_bucket{${local.service}}[5m])))"
      "99th percentile" = "histogram_quantile(0.99, sum by (le) (rate(run_googleapis_com:request_latencies_bucket{${local.service}}[5m])))"
    } },
    { title = "Latency in the function, ms (99th percentile)", unit = "ms", lines = {
      "check"   = "histogram_quantile(0.99, sum by (le) (rate(${local.metric.validate_ms}_bucket{${local.service}}[5m])))"
      "compute" = "histogram_quantile(0.99, sum by (le) (rate(${local.metric.predict_ms}_bucket{${local.service}}[5m])))"
      "total"   = "histogram_quantile(0.99, sum by (le) (rate(${local.metric.total_ms}_bucket{${local.service}}[5m])))"
    } },
    { title = "Predictions a second, by version", unit = "1/s", lines = {
      "version $${labels.version}" = "sum by (version) (rate(${local.metric.predictions}_sum{${local.service}}[5m]))"
    } },
    { title = "Requests a second, by revision", unit = "1/s", lines = {
      "$${labels.revision_name}" = "sum by (revision_name) (rate(${local.run_requests}[5m]))"
    } },
    { title = "Cold starts, an hour", unit = "1", lines = {
      "loads"          = "sum(increase(${local.metric.cold_loads}_count{${local.service}}[1h]))"
      "failed loads"   = "sum(increase(${local.metric.load_failures}{${local.service}}[1h]))"
      "ended by fault" = "sum(increase(${local.metric.exits}{${local.service}}[1h]))"
    } },
    { title = "Cold start, ms (median)", unit = "ms", lines = {
      "container" = "histogram_quantile(0.5, sum by (le) (rate(run_googleapis_com:container_startup_latencies_bucket{${local.service}}[1h])))"
      "load"      = "histogram_quantile(0.5, sum by (le) (rate(${local.metric.cold_loads}_bucket{${local.service}}[1h])))"
    } },
    { title = "Refused requests a second, by reason", unit = "1/s", lines = {
      "$${labels.code}" = "sum by (code) (rate(${local.metric.rejections}{${local.service}}[5m]))"
    } },
    { title = "Instances", unit = "1", lines = {
      "$${labels.state}" = "sum by (state) (run_googleapis_com:container_instance_count{${local.service}})"
    } },
    { title = "CPU and memory, share of the limit (95th percentile)", unit = "", lines = {
      "CPU"    = "histogram_quantile(0.95, sum by (le) (rate(run_googleapis_com:container_cpu_utilizations_bucket{${local.service}}[5m])))"
      "memory" = "histogram_quantile(0.95, sum by (le) (rate(run_googleapis_com:container_memory_utilizations_bucket{${local.service}}[5m])))"
    } },
    { title = "Cost of 1,000 predictions", unit = "", lines = {
      "cost" = "1000 * (${local.cost_second}) / sum(rate(${local.metric.predictions}_sum{${local.service}}[1h]))"
    } },
  ]

  tiles = [for index, chart in local.charts : {
    height = 16
    width  = 24
    xPos   = index % 2 * 24
    yPos   = floor(index / 2) * 16
    widget = {
      title = chart.title
      xyChart = {
        chartOptions = { mode = "COLOR" }
        dataSets = [for legend, query in chart.lines : {
          legendTemplate = legend
          plotType       = "LINE"
          targetAxis     = "Y1"
          timeSeriesQuery = merge(
            { prometheusQuery = query },
            chart.unit == "" ? {} : { unitOverride = chart.unit },
          )
        }]
        yAxis = { scale = "LINEAR" }
      }
    }
  }]
}

resource "google_monitoring_dashboard" "main" {
  dashboard_json = jsonencode({
    displayName  = "Predictions of ${var.model} (${var.name})"
    labels       = { (replace(var.name, "-", "_")) = "" }
    mosaicLayout = { columns = 48, tiles = local.tiles }
  })

  depends_on = [google_logging_metric.counter, google_logging_metric.distribution]
}

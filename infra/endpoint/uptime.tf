# A question from outside, every five minutes, that signs in. Off by default: it wakes a service that had scaled to
# zero, and the identity that asks does not exist before a project's first check.
resource "google_monitoring_uptime_check_config" "main" {
  count = var.endpoint.uptime_check ? 1 : 0

  checker_type     = "STATIC_IP_CHECKERS"
  display_name     = var.name
  period           = "300s"
  selected_regions = ["EUROPE", "USA_VIRGINIA", "ASIA_PACIFIC"]
  timeout          = "10s"

  http_check {
    mask_headers   = false
    path           = "/health/ready"
    port           = 443
    request_method = "GET"
    use_ssl        = true
    validate_ssl   = true

    accepted_response_status_codes {
      status_class = "STATUS_CLASS_2XX"
    }

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }

  monitored_resource {
    labels = {
      host       = regex("^https?://([^/:]+)", google_cloud_run_v2_service.main.uri)[0]
      project_id = var.project
    }
    type = "uptime_url"
  }
}

resource "google_cloud_run_v2_service_iam_member" "uptime" {
  count = var.endpoint.uptime_check && var.endpoint.access != "public" ? 1 : 0

  location = google_cloud_run_v2_service.main.location
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
  name     = google_cloud_run_v2_service.main.name
  role     = "roles/run.invoker"

  depends_on = [google_monitoring_uptime_check_config.main] # which makes the identity
}

locals {
  uptime_alerts = { for check in google_monitoring_uptime_check_config.main : "uptime" => {
    duration = "300s"
    query    = "sum(1 - monitoring_googleapis_com:uptime_check_check_passed{monitored_resource=\"uptime_url\",check_id=\"${check.uptime_check_id}\"}) >= 2"
    severity = "CRITICAL"
    text     = "Two of Google's checkers or more, from outside, get no answer that says ready."
    title    = "The endpoint cannot be reached"
  } }
}

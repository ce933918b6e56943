resource "google_pubsub_topic" "main" {
  name                       = "retrain"
  labels                     = { mark = var.mark }
  message_retention_duration = "86400s"
  depends_on                 = [google_project_service.main]
}

resource "google_pubsub_topic_iam_member" "main" {
  topic  = google_pubsub_topic.main.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.main.member
}

resource "google_pubsub_subscription" "main" {
  name  = "pull"
  topic = google_pubsub_topic.main.id
}

resource "google_pubsub_subscription" "push" {
  name                 = "push"
  topic                = google_pubsub_topic.main.id
  ack_deadline_seconds = var.mark == "a" ? 20 : 30

  push_config {
    push_endpoint = google_cloud_run_v2_service.main.uri

    oidc_token {
      service_account_email = google_service_account.main.email
    }
  }
}

resource "google_cloud_scheduler_job" "main" {
  name        = "retrain"
  region      = local.region
  description = var.mark
  schedule    = "0 4 1 * *"
  time_zone   = "Europe/Zurich"
  depends_on  = [google_project_service.main]

  pubsub_target {
    topic_name = google_pubsub_topic.main.id
    data       = base64encode("{}")
    attributes = { model = "churn" }
  }
}

resource "google_cloud_scheduler_job" "http" {
  name       = "call"
  region     = local.region
  schedule   = "*/5 * * * *"
  depends_on = [google_project_service.main]

  http_target {
    uri         = google_cloud_run_v2_service.main.uri
    http_method = "POST"

    oidc_token {
      service_account_email = google_service_account.main.email
    }
  }

  retry_config {
    retry_count = 1
  }
}

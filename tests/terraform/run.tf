resource "google_cloud_run_v2_service" "main" {
  name                = "churn"
  location            = local.region
  deletion_protection = false
  description         = var.mark
  depends_on          = [google_project_service.main]

  template {
    service_account                  = google_service_account.main.email
    max_instance_request_concurrency = var.mark == "a" ? 16 : 32
    timeout                          = "30s"

    scaling {
      max_instance_count = 5
    }

    containers {
      image = "us-docker.pkg.dev/cloudrun/container/hello"

      env {
        name  = "MODEL_STORE"
        value = google_storage_bucket.main.url
      }

      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 120

        http_get {
          path = "/health/ready"
        }
      }

      liveness_probe {
        http_get {
          path = "/health/live"
        }
      }

      resources {
        cpu_idle          = true
        limits            = { cpu = "1", memory = "512Mi" }
        startup_cpu_boost = true
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].labels, traffic]
  }
}

resource "google_cloud_run_v2_service_iam_member" "main" {
  name     = google_cloud_run_v2_service.main.name
  location = local.region
  role     = "roles/run.invoker"
  member   = google_service_account.main.member
}

resource "google_iap_web_cloud_run_service_iam_member" "main" {
  cloud_run_service_name = google_cloud_run_v2_service.main.name
  location               = local.region
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = "group:team@example.com"
  depends_on             = [google_project_service.main]
}

# The service. Terraform owns everything of it but what a release changes: image, traffic and the template's labels.
locals {
  ingress = {
    "all"                               = "INGRESS_TRAFFIC_ALL"
    "internal"                          = "INGRESS_TRAFFIC_INTERNAL_ONLY"
    "internal-and-cloud-load-balancing" = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  }

  # Reading a body takes up to forty times its size, the process itself at most 320 MiB (docs/operating.md): whatever
  # callers send at once, the instance lives.
  bodies_mib = floor((var.endpoint.memory_mib - 320) / 40)
  limits = {
    MAX_BODY_MB      = tostring(min(16, local.bodies_mib))
    MAX_IN_FLIGHT_MB = tostring(local.bodies_mib)
  }
  environment = merge(local.limits, var.endpoint.settings, {
    GOOGLE_CLOUD_PROJECT = var.project # traces are named by it
    MODEL_STORE          = "gs://${var.model_bucket}"
  })
}

resource "google_cloud_run_v2_service" "main" {
  deletion_protection = var.deletion_protection
  description         = "Predictions of ${var.model}"
  iap_enabled         = var.endpoint.access == "iap"
  ingress             = local.ingress[var.endpoint.ingress]
  location            = var.region
  name                = var.name

  template {
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.endpoint.concurrency
    service_account                  = google_service_account.serve.email
    timeout                          = "${var.endpoint.request_timeout_seconds}s"

    containers {
      image = "us-docker.pkg.dev/cloudrun/container/hello" # until the first release

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.endpoint.hash_key_secret == null ? [] : [var.endpoint.hash_key_secret]
        content {
          name = "RECORD_HASH_KEY"
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      resources {
        cpu_idle = true # billed by request
        limits = {
          cpu    = tostring(var.endpoint.cpu)
          memory = "${var.endpoint.memory_mib}Mi"
        }
        startup_cpu_boost = true
      }

      # Loads the model: a version that cannot be loaded never becomes a ready revision.
      startup_probe {
        failure_threshold = var.endpoint.startup_seconds
        period_seconds    = 1
        timeout_seconds   = 1
        http_get {
          path = "/health/ready"
        }
      }

      liveness_probe {
        failure_threshold = 3
        period_seconds    = 10
        timeout_seconds   = 5
        http_get {
          path = "/health/live"
        }
      }
    }

    scaling {
      max_instance_count = var.endpoint.max_instances
      min_instance_count = var.endpoint.min_instances
    }

    dynamic "vpc_access" {
      for_each = var.endpoint.network == null ? [] : [var.endpoint.network]
      content {
        egress = vpc_access.value.all_traffic ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = vpc_access.value.name
          subnetwork = vpc_access.value.subnetwork
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].labels, traffic]
  }

  depends_on = [google_secret_manager_secret_iam_member.hash_key]
}

# A message {"model": NAME} in its attributes retrains a model through the same delivery; schedules send such messages.
resource "google_pubsub_topic" "retrain" {
  #checkov:skip=CKV_GCP_83:a message holds the name of a model
  name = "${var.prefix}-retrain"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.main]
}

resource "google_cloud_scheduler_job" "retrain" {
  for_each = { for name, model in var.models : name => model.retrain_schedule if model.retrain_schedule != null }

  description = "Retrain ${each.key}"
  name        = "${var.prefix}-${each.key}-retrain"
  region      = var.region
  schedule    = each.value
  time_zone   = "Etc/UTC"

  pubsub_target {
    attributes = { model = each.key }
    topic_name = google_pubsub_topic.retrain.id
  }

  retry_config {
    retry_count = 3
  }

  depends_on = [google_project_service.main]
}

locals {
  # The provider knows no GitLab here; the repository's own name says where it is.
  repository_type = try(var.repository.type == "GITLAB" ? "UNKNOWN" : var.repository.type, null)
}

resource "google_cloudbuild_trigger" "retrain" {
  count = var.repository == null ? 0 : 1

  description     = "Retrain the model that a message names, and release it like any other version"
  location        = var.region
  name            = "${var.prefix}-retrain"
  service_account = google_service_account.deliver.id
  substitutions   = merge(local.substitutions, { _MODEL = "$(body.message.attributes.model)", _RUN = "retrain" })

  git_file_source {
    path       = "cloudbuild.yaml"
    repo_type  = local.repository_type
    repository = var.repository.name
    revision   = "refs/heads/${var.branch}"
  }

  pubsub_config {
    topic = google_pubsub_topic.retrain.id
  }

  source_to_build {
    ref        = "refs/heads/${var.branch}"
    repo_type  = local.repository_type
    repository = var.repository.name
  }

  depends_on = [google_project_iam_member.builders]
}

resource "google_artifact_registry_repository" "main" {
  repository_id = "images"
  location      = local.region
  format        = "DOCKER"
  description   = var.mark
  depends_on    = [google_project_service.main]

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-released"
    action = "KEEP"

    condition {
      tag_state    = "TAGGED"
      tag_prefixes = ["released"]
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "2592000s"
      tag_state  = "ANY"
    }
  }

  cleanup_policies {
    id     = "keep-ten"
    action = "KEEP"

    most_recent_versions {
      keep_count = 10
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "main" {
  repository = google_artifact_registry_repository.main.name
  location   = local.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.main.member
}

resource "google_secret_manager_secret" "main" {
  secret_id  = "github"
  labels     = { mark = var.mark }
  depends_on = [google_project_service.main]

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "main" {
  secret      = google_secret_manager_secret.main.id
  secret_data = "token"
}

resource "google_secret_manager_secret_iam_member" "main" {
  secret_id = google_secret_manager_secret.main.id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:service-${data.google_project.main.number}@gcp-sa-cloudbuild.iam.gserviceaccount.com"
}

resource "google_cloudbuildv2_connection" "main" {
  name       = "github"
  location   = local.region
  depends_on = [google_secret_manager_secret_iam_member.main]

  github_config {
    app_installation_id = 1234

    authorizer_credential {
      oauth_token_secret_version = google_secret_manager_secret_version.main.id
    }
  }
}

resource "google_cloudbuildv2_repository" "main" {
  name              = "pilotlight"
  parent_connection = google_cloudbuildv2_connection.main.id
  remote_uri        = "https://github.com/example/pilotlight.git"
}

resource "google_cloudbuild_trigger" "push" {
  name            = "deliver"
  location        = local.region
  description     = var.mark
  filename        = "cloudbuild.yaml"
  included_files  = ["function/**"]
  service_account = google_service_account.main.id
  substitutions   = { _REGION = local.region }

  repository_event_config {
    repository = google_cloudbuildv2_repository.main.id

    push {
      branch = "^main$"
    }
  }
}

resource "google_cloudbuild_trigger" "pull_request" {
  name            = "verify"
  location        = local.region
  filename        = "cloudbuild.yaml"
  service_account = google_service_account.main.id

  repository_event_config {
    repository = google_cloudbuildv2_repository.main.id

    pull_request {
      branch          = "^main$"
      comment_control = "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
    }
  }
}

resource "google_cloudbuild_trigger" "manual" {
  name            = "apply"
  location        = local.region
  service_account = google_service_account.main.id

  source_to_build {
    ref        = "refs/heads/main"
    repo_type  = "GITHUB"
    repository = google_cloudbuildv2_repository.main.id
  }

  git_file_source {
    path       = "apply.yaml"
    repo_type  = "GITHUB"
    repository = google_cloudbuildv2_repository.main.id
    revision   = "refs/heads/main"
  }

  approval_config {
    approval_required = true
  }
}

resource "google_cloudbuild_trigger" "pubsub" {
  name            = "retrain"
  location        = local.region
  filter          = "_MODEL != \"\""
  service_account = google_service_account.main.id
  substitutions   = { _MODEL = "$(body.message.attributes.model)" }

  pubsub_config {
    topic = google_pubsub_topic.main.id
  }

  source_to_build {
    ref        = "refs/heads/main"
    repo_type  = "GITHUB"
    repository = google_cloudbuildv2_repository.main.id
  }

  git_file_source {
    path       = "retrain.yaml"
    repo_type  = "GITHUB"
    repository = google_cloudbuildv2_repository.main.id
    revision   = "refs/heads/main"
  }
}

resource "google_cloudbuild_trigger" "webhook" {
  name            = "hook"
  location        = local.region
  service_account = google_service_account.main.id

  webhook_config {
    secret = google_secret_manager_secret_version.main.id
  }

  build {
    timeout = "60s"

    step {
      name   = "ubuntu"
      script = "echo hello"
    }

    options {
      logging = "CLOUD_LOGGING_ONLY"
    }
  }
}

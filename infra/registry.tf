# Images: code and the pin of one model version each. A release tags what served with served-...; such images stay for
# ever, because moving traffic back needs them. Of the others the newest ten and those of the last month stay. Tags may
# move (docker_config is not said, because its default shows as a change for ever): revisions name digests.
resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:images hold code and a pin; versions and records, which may hold data, take encryption_key
  cleanup_policy_dry_run = false
  description            = "Images of endpoints, each code and one model version"
  format                 = "DOCKER"
  location               = var.region
  repository_id          = var.prefix

  cleanup_policies {
    action = "DELETE"
    id     = "delete-old"
    condition {
      older_than = "2592000s"
      tag_state  = "ANY"
    }
  }

  cleanup_policies {
    action = "KEEP"
    id     = "keep-newest"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    action = "KEEP"
    id     = "keep-served"
    condition {
      tag_prefixes = ["served-"]
      tag_state    = "TAGGED"
    }
  }

  depends_on = [google_project_service.main]
}

resource "google_artifact_registry_repository_iam_member" "images_deliver" {
  location   = google_artifact_registry_repository.images.location
  member     = google_service_account.deliver.member
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.repoAdmin" # tags are moved, which is a deletion
}

locals {
  images = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

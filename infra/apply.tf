# Terraform is applied by a person, or by a build that a person approved, under an identity that does nothing else:
# never the one that runs a train.py.
resource "google_service_account" "apply" {
  account_id   = "${var.prefix}-apply"
  description  = "Applies infra/ after approval"
  display_name = "${var.prefix} apply"

  depends_on = [google_project_service.main]
}

# It lets Cloud Storage and BigQuery use the key; using it is not among its own rights.
resource "google_kms_crypto_key_iam_member" "apply" {
  count = var.encryption_key == null ? 0 : 1

  crypto_key_id = var.encryption_key
  member        = google_service_account.apply.member
  role          = "roles/cloudkms.admin"

  depends_on = [google_project_service.main]
}

locals {
  apply_roles = toset(concat([
    "roles/artifactregistry.admin",
    "roles/bigquery.admin",
    "roles/cloudbuild.builds.editor",
    "roles/cloudscheduler.admin",
    "roles/iap.admin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/logging.admin",
    "roles/monitoring.admin",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
    "roles/viewer",
  ], contains(local.apis, "secretmanager.googleapis.com") ? ["roles/secretmanager.admin"] : []))
}

resource "google_project_iam_member" "apply" {
  for_each = local.apply_roles

  member  = google_service_account.apply.member
  project = var.project
  role    = each.key
}

resource "google_cloudbuild_trigger" "apply" {
  count = var.repository == null ? 0 : 1

  description     = "Apply infra/ once someone has approved it"
  filename        = "cloudbuild.yaml"
  included_files  = ["infra/**", "models/*/model.yaml"]
  location        = var.region
  name            = "${var.prefix}-apply"
  service_account = google_service_account.apply.id
  substitutions   = merge(local.substitutions, { _RUN = "apply" })

  approval_config {
    approval_required = true
  }

  repository_event_config {
    repository = var.repository.name
    push {
      branch = local.pushes_to
    }
  }

  depends_on = [google_project_iam_member.apply]
}

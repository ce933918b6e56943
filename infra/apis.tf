# What an empty project cannot do yet. Kept on destroy: other things in the project may use them.
locals {
  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "bigquery.googleapis.com",
      "cloudbilling.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudscheduler.googleapis.com",
      "iam.googleapis.com",
      "iamcredentials.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "storage.googleapis.com",
    ],
    var.budget == null ? [] : ["billingbudgets.googleapis.com"],
    var.encryption_key == null ? [] : ["cloudkms.googleapis.com"],
    anytrue([for model in values(var.models) : model.access == "iap"]) ? ["iap.googleapis.com"] : [],
    anytrue([for model in values(var.models) : model.hash_key_secret != null]) ? ["secretmanager.googleapis.com"] : [],
  ))
}

resource "google_project_service" "main" {
  for_each = local.apis

  disable_on_destroy = false
  service            = each.key
}

# Google's own identities are called by the project's number.
data "google_project" "main" {
  project_id = var.project
}

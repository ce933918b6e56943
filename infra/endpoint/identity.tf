# Who the service is: it reads its model's versions, and nothing else.
resource "google_service_account" "serve" {
  account_id   = var.name
  description  = "Serves ${var.model}: reads the versions of ${var.model}, and nothing else"
  display_name = "${var.name} serve"
}

resource "google_storage_bucket_iam_member" "versions" {
  bucket = var.model_bucket
  member = google_service_account.serve.member
  role   = "roles/storage.objectViewer"

  condition {
    description = "Only the versions of ${var.model}"
    expression  = "resource.type == \"storage.googleapis.com/Object\" && resource.name.startsWith(\"projects/_/buckets/${var.model_bucket}/objects/${var.model}/\")"
    title       = var.name
  }
}

resource "google_secret_manager_secret_iam_member" "hash_key" {
  count = var.endpoint.hash_key_secret == null ? 0 : 1

  member    = google_service_account.serve.member
  role      = "roles/secretmanager.secretAccessor"
  secret_id = var.endpoint.hash_key_secret
}

data "google_storage_project_service_account" "main" {}

resource "google_storage_bucket" "main" {
  name                        = "${var.project}-models"
  location                    = local.region
  force_destroy               = true
  labels                      = { mark = var.mark }
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true

  versioning {
    enabled = true
  }
}

resource "google_storage_bucket_object" "main" {
  bucket  = google_storage_bucket.main.name
  name    = "hello.txt"
  content = "hello ${var.mark}"
}

resource "google_storage_bucket_iam_member" "main" {
  bucket = google_storage_bucket.main.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.main.member
}

resource "google_storage_bucket_iam_member" "prefix" {
  bucket = google_storage_bucket.main.name
  role   = "roles/storage.objectUser"
  member = google_service_account.main.member

  condition {
    title      = "prefix"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.main.name}/objects/churn/\")"
  }
}

resource "google_service_account" "main" {
  account_id   = "churn-serve"
  display_name = "churn ${var.mark}"
  depends_on   = [google_project_service.main]
}

resource "google_service_account_iam_member" "main" {
  service_account_id = google_service_account.main.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.main.member
}

resource "google_project_iam_member" "main" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.main.member
}

resource "google_project_iam_custom_role" "main" {
  role_id     = "tagger"
  title       = "Tagger ${var.mark}"
  permissions = ["artifactregistry.tags.create"]
  depends_on  = [google_project_service.main]
}

resource "google_project_iam_member" "custom" {
  project = var.project
  role    = google_project_iam_custom_role.main.name
  member  = google_service_account.main.member
}

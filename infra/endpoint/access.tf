# Who may call the service, and who may release to it.
locals {
  iap      = var.endpoint.access == "iap"
  invokers = var.endpoint.access == "public" ? toset(["allUsers"]) : local.iap ? toset([]) : var.endpoint.invokers
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invokers

  location = google_cloud_run_v2_service.main.location
  member   = each.key
  name     = google_cloud_run_v2_service.main.name
  role     = "roles/run.invoker"
}

# The proxy that people sign in at calls the service in their place.
resource "google_cloud_run_v2_service_iam_member" "proxy" {
  count = local.iap ? 1 : 0

  location = google_cloud_run_v2_service.main.location
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-iap.iam.gserviceaccount.com"
  name     = google_cloud_run_v2_service.main.name
  role     = "roles/run.invoker"
}

resource "google_iap_web_cloud_run_service_iam_member" "person" {
  for_each = local.iap ? var.endpoint.invokers : toset([])

  cloud_run_service_name = google_cloud_run_v2_service.main.name
  location               = google_cloud_run_v2_service.main.location
  member                 = each.key
  role                   = "roles/iap.httpsResourceAccessor"
}

# A release updates the service, runs it as its identity, and asks it what it answers.
resource "google_cloud_run_v2_service_iam_member" "deliver" {
  for_each = toset(["roles/run.developer", "roles/run.invoker"])

  location = google_cloud_run_v2_service.main.location
  member   = var.deliver_member
  name     = google_cloud_run_v2_service.main.name
  role     = each.key
}

resource "google_service_account_iam_member" "deliver" {
  member             = var.deliver_member
  role               = "roles/iam.serviceAccountUser"
  service_account_id = google_service_account.serve.name
}

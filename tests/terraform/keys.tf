resource "google_kms_key_ring" "main" {
  name       = "main"
  location   = local.region
  depends_on = [google_project_service.main]
}

resource "google_kms_crypto_key" "main" {
  name     = "models"
  key_ring = google_kms_key_ring.main.id
  labels   = { mark = var.mark }
}

resource "google_kms_crypto_key_iam_member" "main" {
  crypto_key_id = google_kms_crypto_key.main.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.main.member
}

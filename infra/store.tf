# Where model versions live. Objects of a version are written once (create-only); versioning and soft delete are for
# accidents, and what only they keep is removed after a month.
resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62:who reads objects is in Cloud Audit Logs, where the organisation switches data access on; access logs would need a bucket of their own
  force_destroy               = !var.deletion_protection
  location                    = var.region
  name                        = var.model_bucket
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true

  dynamic "encryption" {
    for_each = var.encryption_key == null ? [] : [var.encryption_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  versioning {
    enabled = true
  }

  depends_on = [google_project_service.main, google_kms_crypto_key_iam_member.store]
}

data "google_storage_project_service_account" "main" {
  count = var.encryption_key == null ? 0 : 1

  depends_on = [google_project_service.main]
}

resource "google_kms_crypto_key_iam_member" "store" {
  count = var.encryption_key == null ? 0 : 1

  crypto_key_id = var.encryption_key
  member        = data.google_storage_project_service_account.main[0].member
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
}

# Publishing creates objects and moves aliases, both with preconditions; sweeping removes what never became a version.
resource "google_storage_bucket_iam_member" "models_deliver" {
  bucket = google_storage_bucket.models.name
  member = google_service_account.deliver.member
  role   = "roles/storage.objectUser"
}

# A pull request is compared with the champion.
resource "google_storage_bucket_iam_member" "models_verify" {
  bucket = google_storage_bucket.models.name
  member = google_service_account.verify.member
  role   = "roles/storage.objectViewer"
}

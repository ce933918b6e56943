# Where model versions live. Objects of a version are written once (create-only); versioning and soft delete are for
# accidents, and what only they keep is removed after a month.
resource "google_storage_bucket" "models" {
  name                        = var.model_bucket
  location                    = var.region
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }
}

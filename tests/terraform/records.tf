resource "google_bigquery_dataset" "main" {
  dataset_id                      = "records"
  location                        = local.region
  description                     = var.mark
  default_partition_expiration_ms = 31536000000
}

resource "google_bigquery_dataset_iam_member" "main" {
  dataset_id = google_bigquery_dataset.main.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_logging_project_sink.main.writer_identity
}

resource "google_bigquery_table" "main" {
  dataset_id          = google_bigquery_dataset.main.dataset_id
  table_id            = "predictions"
  clustering          = ["model"]
  deletion_protection = false
  labels              = { mark = var.mark }

  schema = jsonencode(concat(
    [
      { name = "timestamp", type = "TIMESTAMP", mode = "REQUIRED" },
      { name = "model", type = "STRING" },
      { name = "payload", type = "RECORD", fields = [{ name = "x", type = "FLOAT" }] },
    ],
    var.mark == "a" ? [] : [{ name = "later", type = "STRING" }],
  ))

  time_partitioning {
    type  = "DAY"
    field = "timestamp"
  }
}

resource "google_bigquery_table" "view" {
  dataset_id          = google_bigquery_dataset.main.dataset_id
  table_id            = "churn"
  deletion_protection = false
  depends_on          = [google_bigquery_table.main]

  view {
    query          = "SELECT model FROM `${var.project}.records.predictions` -- ${var.mark}"
    use_legacy_sql = false
  }
}

resource "google_bigquery_table_iam_member" "main" {
  dataset_id = google_bigquery_dataset.main.dataset_id
  table_id   = google_bigquery_table.main.table_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.main.member
}

resource "google_logging_project_sink" "main" {
  name                   = "records"
  destination            = "bigquery.googleapis.com/${google_bigquery_dataset.main.id}"
  filter                 = "jsonPayload.record=\"prediction\" AND jsonPayload.mark=\"${var.mark}\""
  unique_writer_identity = true

  bigquery_options {
    use_partitioned_tables = true
  }
}

resource "google_logging_project_bucket_config" "main" {
  project        = var.project
  location       = local.region
  bucket_id      = "records"
  retention_days = var.mark == "a" ? 90 : 60
}

resource "google_logging_project_bucket_config" "default" {
  project        = var.project
  location       = "global"
  bucket_id      = "_Default"
  retention_days = 45
}

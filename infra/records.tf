# Prediction records and feedback, routed from Cloud Logging into one table, by day. The table is made here and not by
# the sink: views cannot be made over a table that does not exist, and the first entry would fix every column's type.
resource "google_bigquery_dataset" "records" {
  #checkov:skip=CKV_GCP_81:the key is an input, encryption_key
  dataset_id                 = replace("${var.prefix}_records", "-", "_")
  delete_contents_on_destroy = !var.deletion_protection
  description                = "What endpoints answered, and what became of it"
  location                   = var.region
  max_time_travel_hours      = 168

  dynamic "default_encryption_configuration" {
    for_each = var.encryption_key == null ? [] : [var.encryption_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_project_service.main, google_kms_crypto_key_iam_member.records]
}

data "google_bigquery_default_service_account" "main" {
  count = var.encryption_key == null ? 0 : 1

  depends_on = [google_project_service.main]
}

resource "google_kms_crypto_key_iam_member" "records" {
  count = var.encryption_key == null ? 0 : 1

  crypto_key_id = var.encryption_key
  member        = data.google_bigquery_default_service_account.main[0].member
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
}

resource "google_bigquery_table" "records" {
  #checkov:skip=CKV_GCP_80:the dataset's key is the table's default
  dataset_id          = google_bigquery_dataset.records.dataset_id
  deletion_protection = var.deletion_protection
  description         = "Cloud Logging's entries: one row a request, one a feedback"
  schema              = file("${path.module}/records.schema.json")
  table_id            = "run_googleapis_com_stdout" # the name that a sink gives to this log

  time_partitioning {
    expiration_ms = var.records_days * 24 * 60 * 60 * 1000
    field         = "timestamp"
    type          = "DAY"
  }

  lifecycle {
    ignore_changes = [schema] # the sink adds a column when an entry brings a new field
  }
}

# One row a prediction, its features and what became of it beside it.
resource "google_bigquery_table" "predictions" {
  #checkov:skip=CKV_GCP_80:a view holds nothing that could be encrypted
  #checkov:skip=CKV_GCP_121:a view holds nothing that could be lost
  for_each = var.models

  dataset_id          = google_bigquery_dataset.records.dataset_id
  deletion_protection = false # a view holds nothing
  description         = "Predictions of ${each.key}, one row each, with their outcome where one was sent"
  table_id            = replace(each.key, "-", "_")

  view {
    query = templatefile("${path.module}/predictions.sql", {
      model   = each.key
      service = "${var.prefix}-${each.key}"
      table   = "${var.project}.${google_bigquery_dataset.records.dataset_id}.${google_bigquery_table.records.table_id}"
    })
    use_legacy_sql = false
  }
}

locals {
  # By name and not by prefix: another installation's prefix may begin with this one.
  services = join(" OR ", [for name in length(var.models) > 0 ? keys(var.models) : ["-"] : "\"${var.prefix}-${name}\""])
}

resource "google_logging_project_sink" "records" {
  description            = "Prediction records and feedback of every endpoint"
  destination            = "bigquery.googleapis.com/${google_bigquery_dataset.records.id}"
  filter                 = <<-EOT
    resource.type="cloud_run_revision"
    logName="projects/${var.project}/logs/run.googleapis.com%2Fstdout"
    resource.labels.service_name=(${local.services})
    jsonPayload.kind=("prediction" OR "feedback")
  EOT
  name                   = "${var.prefix}-records"
  unique_writer_identity = true

  bigquery_options {
    use_partitioned_tables = true
  }

  depends_on = [google_bigquery_table.records]
}

resource "google_bigquery_dataset_iam_member" "records_sink" {
  dataset_id = google_bigquery_dataset.records.dataset_id
  member     = google_logging_project_sink.records.writer_identity
  role       = "roles/bigquery.dataEditor"
}

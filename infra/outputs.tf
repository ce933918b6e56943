output "model_store" {
  description = "What MODEL_STORE is set to."
  value       = google_storage_bucket.models.url
}

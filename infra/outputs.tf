output "dashboard_urls" {
  description = "Each endpoint's dashboard, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.dashboard_url }
}

output "deliver_identity" {
  description = "The release identity; whoever releases from a laptop impersonates it."
  value       = google_service_account.deliver.email
}

output "goals" {
  description = "What each model.yaml asks of its endpoint, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.goals }
}

output "identities" {
  description = "E-mail address of the identity that each service runs as, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.identity }
}

output "images" {
  description = "Where images are pushed, before /MODEL@DIGEST."
  value       = local.images
}

output "invoke_commands" {
  description = "A call of each endpoint that shows the model's card, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.invoke_command }
}

output "model_store" {
  description = "What MODEL_STORE is set to."
  value       = google_storage_bucket.models.url
}

output "prediction_views" {
  description = "BigQuery views of predictions with their features and outcomes, by model."
  value       = { for name, view in google_bigquery_table.predictions : name => "${view.project}.${view.dataset_id}.${view.table_id}" }
}

output "retrain_commands" {
  description = "The message that retrains each model, by model."
  value       = { for name in keys(var.models) : name => "gcloud pubsub topics publish ${google_pubsub_topic.retrain.name} --project=${var.project} --attribute=model=${name}" }
}

output "services" {
  description = "Full name of each Cloud Run service, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.service }
}

output "urls" {
  description = "Address of each endpoint, by model."
  value       = { for name, endpoint in module.endpoint : name => endpoint.url }
}

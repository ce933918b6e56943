output "dashboard_url" {
  description = "The endpoint's dashboard."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.main.id)}?project=${var.project}"
}

output "goals" {
  description = "What model.yaml asks of the endpoint; the monitor compares drift with its threshold."
  value       = var.goals
}

output "identity" {
  description = "E-mail address of the identity that the service runs as."
  value       = google_service_account.serve.email
}

output "invoke_command" {
  description = "A call that shows the model's card and an example to send."
  value = (
    var.endpoint.access == "iap" ? "open ${google_cloud_run_v2_service.main.uri}/docs # in a browser, to sign in" :
    var.endpoint.access == "public" ? "curl ${google_cloud_run_v2_service.main.uri}/model" :
    "curl -H \"Authorization: Bearer $(gcloud auth print-identity-token)\" ${google_cloud_run_v2_service.main.uri}/model"
  )
}

output "service" {
  description = "Full name of the Cloud Run service."
  value       = google_cloud_run_v2_service.main.id
}

output "url" {
  description = "Address of the endpoint."
  value       = google_cloud_run_v2_service.main.uri
}

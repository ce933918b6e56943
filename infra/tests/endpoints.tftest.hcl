# What is made for no model, one and two, and for each kind of access. Values that Google gives are made up.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_cloud_run_v2_service" {
    defaults = {
      id  = "projects/pilot-project/locations/europe-west6/services/pilot-churn"
      uri = "https://pilot-churn-123456789012.europe-west6.run.app"
    }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "pilot-churn@pilot-project.iam.gserviceaccount.com"
      id     = "projects/pilot-project/serviceAccounts/pilot-churn@pilot-project.iam.gserviceaccount.com"
      member = "serviceAccount:pilot-churn@pilot-project.iam.gserviceaccount.com"
      name   = "projects/pilot-project/serviceAccounts/pilot-churn@pilot-project.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_logging_project_sink" {
    defaults = { writer_identity = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com" }
  }
  mock_resource "google_monitoring_custom_service" {
    defaults = { service_id = "pilot-churn" }
  }
  mock_resource "google_monitoring_slo" {
    defaults = { name = "projects/123456789012/services/pilot-churn/serviceLevelObjectives/mock" }
  }
  mock_resource "google_monitoring_dashboard" {
    defaults = { id = "projects/123456789012/dashboards/mock" }
  }
  mock_resource "google_artifact_registry_repository" {
    defaults = { name = "pilot" }
  }
  mock_resource "google_pubsub_topic" {
    defaults = { id = "projects/pilot-project/topics/pilot-retrain" }
  }
}

mock_provider "google" {
  alias = "billing"
}

variables {
  deletion_protection = false # the runs take down what they made

  environment  = "test"
  model_bucket = "pilot-models"
  models       = { churn = {} }
  prefix       = "pilot"
  project      = "pilot-project"
  region       = "europe-west6"
  runbook      = "https://example.com/runbook.md"
  state_bucket = "pilot-state"
}

run "no_model" {
  variables {
    models = {}
  }
  assert {
    condition     = length(module.endpoint) == 0 && length(output.urls) == 0
    error_message = "No model makes no endpoint."
  }
  assert {
    condition     = length(google_cloudbuild_trigger.deliver) == 0
    error_message = "Without a repository there are no triggers."
  }
  assert {
    condition     = length(google_billing_budget.main) == 0
    error_message = "Without a budget there is none."
  }
}

run "one_model" {
  assert {
    condition     = keys(output.urls) == ["churn"]
    error_message = "One model makes one endpoint."
  }
  assert {
    condition     = output.goals.churn == { availability = 0.995, drift_threshold = 0.2, latency_goal = 0.99, latency_ms = 300 }
    error_message = "Goals are those of models/churn/model.yaml, with the recipe's defaults."
  }
  assert {
    condition     = strcontains(output.invoke_commands.churn, "print-identity-token")
    error_message = "A private endpoint is called with a token."
  }
  assert {
    condition     = !contains(keys(google_project_service.main), "iap.googleapis.com")
    error_message = "APIs that nothing needs stay as they are."
  }
}

run "two_models" {
  variables {
    models = { churn = {}, reviews = { retrain_schedule = "0 4 1 * *" } }
  }
  assert {
    condition     = keys(output.urls) == ["churn", "reviews"] && keys(google_bigquery_table.predictions) == ["churn", "reviews"]
    error_message = "Each model has its endpoint and its view."
  }
  assert {
    condition     = keys(google_cloud_scheduler_job.retrain) == ["reviews"]
    error_message = "Only a model with a schedule is retrained on one."
  }
}

run "public" {
  variables {
    models = { churn = { access = "public" } }
  }
  assert {
    condition     = output.invoke_commands.churn == "curl https://pilot-churn-123456789012.europe-west6.run.app/model"
    error_message = "A public endpoint is called without a token."
  }
}

run "iap" {
  variables {
    models = { churn = { access = "iap", invokers = ["user:ann@example.com"] } }
  }
  assert {
    condition     = contains(keys(google_project_service.main), "iap.googleapis.com")
    error_message = "Signing in needs the API of Identity-Aware Proxy."
  }
}

run "everything" {
  variables {
    alert_channels = ["projects/pilot-project/notificationChannels/123"]
    alert_emails   = ["oncall@example.com"]
    budget         = { amount = 100, billing_account = "012345-6789AB-CDEF01" }
    encryption_key = "projects/pilot-project/locations/europe-west6/keyRings/ring/cryptoKeys/key"
    models = { churn = {
      hash_key_secret = "projects/pilot-project/secrets/hash-key"
      network         = { name = "vpc", subnetwork = "subnet" }
      settings        = { MAX_INSTANCES = "1000" }
      uptime_check    = true
    } }
    repository = { name = "projects/pilot-project/locations/europe-west6/connections/github/repositories/pilotlight" }
  }
  override_data {
    target = data.google_bigquery_default_service_account.main[0]
    values = { member = "serviceAccount:bq-123456789012@bigquery-encryption.iam.gserviceaccount.com" }
  }
  override_data {
    target = data.google_storage_project_service_account.main[0]
    values = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
  }
  assert {
    condition     = google_cloudbuild_trigger.apply[0].approval_config[0].approval_required && google_cloudbuild_trigger.apply[0].service_account != ""
    error_message = "Applying needs an approval."
  }
  assert {
    condition     = length(google_billing_budget.main) == 1
    error_message = "A budget is made where one is asked for."
  }
}

# Production.
alert_emails = ["oncall@example.com"]
environment  = "prod"
model_bucket = "example-prod-models" # bucket names are global: choose your own
prefix       = "pilot"
project      = "example-prod"
region       = "europe-west6"
runbook      = "https://github.com/example/pilotlight/blob/main/docs/runbook.md"
state_bucket = "example-prod-terraform" # made by make bootstrap

models = {
  churn = {
    invokers      = ["group:retention@example.com"]
    max_instances = 20
  }
}

# Development. Every environment has such a file, and nothing else differs between them.
alert_emails        = []
deletion_protection = false
environment         = "dev"
model_bucket        = "example-dev-models" # bucket names are global: choose your own
prefix              = "pilot"
project             = "example-dev"
records_days        = 30
region              = "europe-west6"
runbook             = "https://github.com/example/pilotlight/blob/main/docs/runbook.md"
state_bucket        = "example-dev-terraform" # made by make bootstrap

models = {
  churn   = {}
  reviews = {}
}

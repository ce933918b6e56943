# What model.yaml may not ask for.
mock_provider "google" {}

variables {
  channels            = []
  deletion_protection = false
  deliver_member      = "serviceAccount:pilot-deliver@pilot-project.iam.gserviceaccount.com"
  endpoint = {
    access                  = "private"
    concurrency             = 20
    cpu                     = 1
    hash_key_secret         = null
    ingress                 = "all"
    invokers                = []
    max_instances           = 3
    memory_mib              = 1024
    min_instances           = 0
    network                 = null
    request_timeout_seconds = 60
    settings                = {}
    silence_hours           = 6
    startup_seconds         = 120
    uptime_check            = false
  }
  goals          = { availability = 0.995, drift_threshold = 0.2, latency_goal = 0.99, latency_ms = 300 }
  model          = "churn"
  model_bucket   = "pilot-models"
  name           = "pilot-churn"
  owner          = "owner@example.com"
  prices         = { gib_second = 0, million_requests = 0, vcpu_second = 0 }
  project        = "pilot-project"
  project_number = "123456789012"
  region         = "europe-west6"
  runbook        = "https://example.com/runbook.md"
}

run "availability" {
  command = plan
  module {
    source = "./endpoint"
  }
  variables {
    goals = { availability = 1, drift_threshold = 0.2, latency_goal = 0.99, latency_ms = 300 }
  }
  expect_failures = [var.goals]
}

run "latency" {
  command = plan
  module {
    source = "./endpoint"
  }
  variables {
    goals = { availability = 0.995, drift_threshold = 0.2, latency_goal = 0.99, latency_ms = -5 }
    owner = ""
  }
  expect_failures = [var.goals, var.owner]
}

run "silence_may_be_off" {
  command = plan
  module {
    source = "./endpoint"
  }
  variables {
    endpoint = merge(var.endpoint, { silence_hours = 0 })
  }
  assert {
    condition     = !contains(keys(google_monitoring_alert_policy.main), "silence") && contains(keys(google_monitoring_alert_policy.main), "errors")
    error_message = "silence_hours = 0 makes no alert on silence."
  }
}

# Each rule of variables.tf refuses what it should. A run takes a second, so each holds wrong values of several
# variables, one a variable. A test counts that no rule is left out.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

mock_provider "google" {
  alias = "billing"
}

variables {
  environment  = "test"
  model_bucket = "pilot-models"
  models       = { churn = {} }
  prefix       = "pilot"
  project      = "pilot-project"
  region       = "europe-west6"
  runbook      = "https://example.com/runbook.md"
  state_bucket = "pilot-state"
}

run "name" {
  command = plan
  variables {
    alert_channels = ["oncall@example.com"]
    alert_emails   = ["somebody"]
    models         = { Churn = {} }
  }
  expect_failures = [var.alert_channels, var.alert_emails, var.models]
}

run "without_recipe" {
  command = plan
  variables {
    branch = "^main$"
    budget = { amount = 100, billing_account = "billingAccounts/012345" }
    models = { nobody-trained-this = {} }
  }
  expect_failures = [var.branch, var.budget, var.models]
}

run "access" {
  command = plan
  variables {
    budget         = { amount = 0.5, billing_account = "012345-6789AB-CDEF01" }
    encryption_key = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
    models         = { churn = { access = "everybody" } }
  }
  expect_failures = [var.budget, var.encryption_key, var.models]
}

run "public_with_invokers" {
  command = plan
  variables {
    environment  = "Production"
    model_bucket = "goog-models"
    models       = { churn = { access = "public", invokers = ["user:ann@example.com"] } }
  }
  expect_failures = [var.environment, var.model_bucket, var.models]
}

run "invoker" {
  command = plan
  variables {
    models  = { churn = { invokers = ["allUsers"] } }
    prices  = { vcpu_second = -1 }
    project = "123456789012"
  }
  expect_failures = [var.models, var.prices, var.project]
}

run "ingress" {
  command = plan
  variables {
    models       = { churn = { ingress = "vpc" } }
    records_days = 0
  }
  expect_failures = [var.models, var.records_days]
}

run "cpu" {
  command = plan
  variables {
    models  = { churn = { cpu = 0.5 } }
    runbook = "docs/runbook.md"
  }
  expect_failures = [var.models, var.runbook]
}

run "memory" {
  command = plan
  variables {
    models       = { churn = { cpu = 4, memory_mib = 1024 } }
    state_bucket = "UPPER"
  }
  expect_failures = [var.models, var.state_bucket]
}

run "concurrency" {
  command = plan
  variables {
    models    = { churn = { concurrency = 1000 } }
    releasers = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.models, var.releasers]
}

run "instances" {
  command = plan
  variables {
    models = { churn = { max_instances = 2, min_instances = 3 } }
  }
  expect_failures = [var.models]
}

run "request_timeout" {
  command = plan
  variables {
    models = { churn = { request_timeout_seconds = 4000 } }
  }
  expect_failures = [var.models]
}

run "startup" {
  command = plan
  variables {
    models = { churn = { startup_seconds = 600 } }
  }
  expect_failures = [var.models]
}

run "silence" {
  command = plan
  variables {
    models = { churn = { silence_hours = 24 } }
  }
  expect_failures = [var.models]
}

run "schedule_of_nothing" {
  command = plan
  variables {
    models = { churn = { retrain_schedule = "0 4 1 * *" } }
  }
  expect_failures = [var.models]
}

run "schedule" {
  command = plan
  variables {
    repository = { name = "projects/p/locations/europe-west6/connections/c/repositories/r" }
    models     = { churn = { retrain_schedule = "0 24 1 * *" } }
  }
  expect_failures = [var.models]
}

run "secret" {
  command = plan
  variables {
    encryption_key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    model_bucket   = "pilot-state"
    models         = { churn = { hash_key_secret = "hash-key" } }
  }
  expect_failures = [var.encryption_key, var.model_bucket, var.models]
}

run "reserved" {
  command = plan
  variables {
    models = { verify = {} }
  }
  expect_failures = [var.models]
}

run "network" {
  command = plan
  variables {
    models = { churn = { network = { name = "", subnetwork = "subnet" } } }
  }
  expect_failures = [var.models]
}

run "settings" {
  command = plan
  variables {
    models = { churn = { settings = { MAX_INSTANCE = "10" } } }
  }
  expect_failures = [var.models]
}

run "uptime" {
  command = plan
  variables {
    models = { churn = { ingress = "internal", uptime_check = true } }
  }
  expect_failures = [var.models]
}

run "name_length" {
  command = plan
  variables {
    prefix = "pilot-pilot-pil"
    models = { maintenance-of-all = {} }
  }
  expect_failures = [var.models]
}

# Of variables that another's rules look at, models are not looked at where they are wrong.
run "prefix" {
  command = plan
  variables {
    prefix = "Pilot"
    region = "europe-west6-a"
  }
  expect_failures = [var.prefix, var.region]
}

run "repository" {
  command = plan
  variables {
    repository = { name = "projects/p/locations/us-central1/connections/c/repositories/r" }
  }
  expect_failures = [var.repository]
}

run "repository_type" {
  command = plan
  variables {
    repository = { name = "projects/p/locations/europe-west6/connections/c/repositories/r", type = "GIT" }
  }
  expect_failures = [var.repository]
}

# One resource at least of every type that infra/ may use, so that the double is held to the real provider. No template.
terraform {
  required_providers {
    google = {
      source = "hashicorp/google"
    }
  }
}

variable "project" {
  type = string
}

# Whatever can change does when this changes.
variable "mark" {
  type    = string
  default = "a"
}

locals {
  region = "europe-west6"
}

provider "google" {
  project       = var.project
  region        = local.region
  poll_interval = "100ms"

  batching {
    enable_batching = false
    send_after      = "0s"
  }
}

# Budgets belong to a billing account, so calls to them must name the project that they count on.
provider "google" {
  alias                 = "billed"
  project               = var.project
  billing_project       = var.project
  user_project_override = true
}

data "google_client_config" "main" {}

data "google_project" "main" {}

resource "google_project_service" "main" {
  for_each = toset([
    "artifactregistry", "billingbudgets", "cloudbuild", "cloudkms", "cloudscheduler", "iam", "iap", "pubsub", "run",
    "secretmanager",
  ])
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9" # before 7.45, services showed changes of scaling and limits that nobody had made
    }
  }

  # Which bucket, each environment says at init: -backend-config=bucket=NAME (make bootstrap makes it).
  backend "gcs" {
    prefix = "pilotlight"
  }
}

provider "google" {
  project = var.project
  region  = var.region
  default_labels = {
    app         = "pilotlight"
    environment = var.environment
  }
}

# Budgets belong to the billing account; their API wants to be told which project asks.
provider "google" {
  alias                 = "billing"
  billing_project       = var.project
  project               = var.project
  user_project_override = true
}

variable "channels" {
  description = "Notification channels that alerts are sent to."
  type        = list(string)
}

variable "deletion_protection" {
  description = "Whether the service is kept from being destroyed."
  type        = bool
}

variable "deliver_member" {
  description = "The release identity, as a member of policies."
  type        = string
}

variable "endpoint" {
  description = "How the model is served, as in the root's models, every default filled in."
  type = object({
    access                  = string
    concurrency             = number
    cpu                     = number
    hash_key_secret         = string
    ingress                 = string
    invokers                = set(string)
    max_instances           = number
    memory_mib              = number
    min_instances           = number
    network                 = object({ name = string, subnetwork = string, all_traffic = bool })
    request_timeout_seconds = number
    settings                = map(string)
    silence_hours           = number
    startup_seconds         = number
    uptime_check            = bool
  })
}

variable "goals" {
  description = "What model.yaml asks of the endpoint: shares (0 to 1) of requests answered and answered in time, that time, and how far data may drift."
  type = object({
    availability    = optional(number, 0.995)
    drift_threshold = optional(number, 0.2)
    latency_goal    = optional(number, 0.99)
    latency_ms      = optional(number, 300)
  })

  validation {
    condition     = var.goals.availability >= 0.5 && var.goals.availability <= 0.9999 && var.goals.latency_goal >= 0.5 && var.goals.latency_goal <= 0.9999
    error_message = "models/${var.model}/model.yaml: serving.availability and serving.latency_goal are shares, 0.5 to 0.9999."
  }
  validation {
    condition     = var.goals.latency_ms > 0 && var.goals.latency_ms < 60000
    error_message = "models/${var.model}/model.yaml: serving.latency_ms is above 0 and below 60000, a minute."
  }
}

variable "model" {
  description = "The model's name."
  type        = string
}

variable "model_bucket" {
  description = "Bucket of model versions; the model's lie below MODEL/."
  type        = string
}

variable "name" {
  description = "PREFIX-MODEL: the service, its identity, the beginning of its metrics."
  type        = string
}

variable "owner" {
  description = "Who answers for the model, from model.yaml."
  type        = string

  validation {
    condition     = length(var.owner) > 0
    error_message = "models/${var.model}/model.yaml needs an owner."
  }
}

variable "prices" {
  description = "What Cloud Run charges."
  type = object({
    gib_second       = number
    million_requests = number
    vcpu_second      = number
  })
}

variable "project" {
  description = "Project id."
  type        = string
}

variable "project_number" {
  description = "Project number, by which Google's own identities are called."
  type        = string
}

variable "region" {
  description = "Region of the service."
  type        = string
}

variable "runbook" {
  description = "Address of the runbook, without a heading."
  type        = string
}

variable "model_bucket" {
  description = "Name of the bucket that holds model versions; bucket names are global."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.model_bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots, hyphens and underscores, and starts and ends with a letter or digit."
  }
}

variable "project" {
  description = "Project that everything is made in."
  type        = string
}

variable "region" {
  description = "Region that everything is made in, such as europe-west6."
  type        = string
}

variable "alert_channels" {
  description = "Notification channels that exist already, for kinds that need a secret or a person to connect (PagerDuty, Slack)."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for channel in var.alert_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", channel))])
    error_message = "A channel is called projects/PROJECT/notificationChannels/NUMBER; `gcloud beta monitoring channels list` names them."
  }
}

variable "alert_emails" {
  description = "Who is written to when an alert fires or a budget is used up."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "An e-mail address looks like name@example.com."
  }
}

variable "branch" {
  description = "Branch whose pushes are delivered."
  type        = string
  default     = "main"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.branch))
    error_message = "A branch is its plain name, such as main; no pattern."
  }
}

variable "budget" {
  description = "Monthly budget of the project, in the billing account's currency; whoever applies needs roles/billing.costsManager on that account."
  type = object({
    amount          = number
    billing_account = string
  })
  default = null

  validation {
    condition     = alltrue([for budget in var.budget[*] : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", budget.billing_account))])
    error_message = "A billing account looks like 012345-6789AB-CDEF01."
  }
  validation {
    condition     = alltrue([for budget in var.budget[*] : budget.amount >= 1 && floor(budget.amount) == budget.amount])
    error_message = "A budget is a whole amount of at least 1."
  }
}

variable "deletion_protection" {
  description = "Whether services, model versions and records are kept from being destroyed; false only where they may be lost."
  type        = bool
  default     = true
  nullable    = false
}

variable "encryption_key" {
  description = "Cloud KMS key for model versions and records (projects/P/locations/L/keyRings/R/cryptoKeys/K, in the same region); Google's own key without it. Whoever applies needs roles/cloudkms.admin on it."
  type        = string
  default     = null

  validation {
    condition     = var.encryption_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.encryption_key))
    error_message = "A key is called projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version."
  }
  validation {
    condition     = var.encryption_key == null || can(regex("/locations/${var.region}/", var.encryption_key))
    error_message = "The key has to lie in the region of what it encrypts."
  }
}

variable "environment" {
  description = "Which environment this is; its variables stand in ENVIRONMENT.tfvars."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.environment))
    error_message = "An environment is called by up to 20 lower-case letters, digits and hyphens, a letter first, such as prod."
  }
}

variable "model_bucket" {
  description = "Name of the bucket that holds model versions; bucket names are global."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.model_bucket)) && !can(regex("^goog|google|g00gle", var.model_bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, hyphens and underscores, starts and ends with a letter or digit, and holds no \"google\"."
  }
  validation {
    condition     = var.model_bucket != var.state_bucket
    error_message = "Versions and Terraform's state lie in buckets of their own: others may read the one than the other."
  }
}

variable "models" {
  description = "Endpoints by model; each needs a folder models/NAME with its model.yaml."
  type = map(object({
    # who may call: private (invokers), iap (invokers, signed in), public (everybody)
    access = optional(string, "private")
    # requests that one instance answers at a time
    concurrency = optional(number, 20)
    # CPUs of an instance; the function uses one, and a second where requests are large
    cpu = optional(number, 1)
    # secret of Secret Manager that RECORD_HASH_KEY is read from: projects/P/secrets/S
    hash_key_secret = optional(string)
    # from where: all, internal, internal-and-cloud-load-balancing
    ingress = optional(string, "all")
    # who may call, as members of policies: user:, group:, serviceAccount:...
    invokers = optional(set(string), [])
    # the most instances; beyond them, requests wait and then get a 429
    max_instances = optional(number, 10)
    # memory of an instance, in MiB; what bodies may take of it is limited accordingly
    memory_mib = optional(number, 1024)
    # instances kept warm, and paid for
    min_instances = optional(number, 0)
    # VPC that the service sends through: private addresses only, or all
    network = optional(object({ name = string, subnetwork = string, all_traffic = optional(bool, false) }))
    # how long Cloud Run lets a request take
    request_timeout_seconds = optional(number, 60)
    # when it is retrained: cron, in UTC; never without it
    retrain_schedule = optional(string)
    # further variables of docs/operating.md, such as { MAX_INSTANCES = "1000" }
    settings = optional(map(string), {})
    # how long nobody may ask before someone is told; 0: nobody is told
    silence_hours = optional(number, 6)
    # how long an instance may take to load its version
    startup_seconds = optional(number, 120)
    # whether Google asks from outside every five minutes; wakes a service at zero
    uptime_check = optional(bool, false)
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.models) : can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", name))])
    error_message = "A model is called by up to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }
  validation {
    condition     = alltrue([for name in keys(var.models) : fileexists("${path.root}/../models/${name}/model.yaml")])
    error_message = "Each model has its models/NAME/model.yaml; missing for: ${join(", ", [for name in keys(var.models) : name if !fileexists("${path.root}/../models/${name}/model.yaml")])}."
  }
  validation {
    condition     = length(setintersection(keys(var.models), ["apply", "deliver", "verify"])) == 0
    error_message = "No model is called apply, deliver or verify: the identities that do this are."
  }
  validation {
    condition     = alltrue([for name in keys(var.models) : length("${var.prefix}-${name}") >= 6 && length("${var.prefix}-${name}") <= 30])
    error_message = "PREFIX-MODEL names the service and its identity, and an identity's name has 6 to 30 characters."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : contains(["iap", "private", "public"], model.access)])
    error_message = "access is private (whoever has roles/run.invoker), iap (people who sign in) or public (everybody)."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.access != "public" || length(model.invokers) == 0])
    error_message = "A public endpoint has no invokers: everybody may call it."
  }
  validation {
    condition     = alltrue(flatten([for model in values(var.models) : [for member in model.invokers : can(regex("^((user|group|serviceAccount):[^@\\s]+@[^@\\s]+\\.[^@\\s]+|domain:[^@\\s]+\\.[^@\\s]+|principal(Set)?://(cloudresourcemanager|iam)\\.googleapis\\.com/\\S+)$", member))]]))
    error_message = "An invoker is user:E-MAIL, group:E-MAIL, serviceAccount:E-MAIL, domain:NAME, principal://iam.googleapis.com/... or principalSet://...; for everybody say access = \"public\"."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : contains(["all", "internal", "internal-and-cloud-load-balancing"], model.ingress)])
    error_message = "ingress is all, internal or internal-and-cloud-load-balancing."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : contains([1, 2, 4, 6, 8], model.cpu)])
    error_message = "cpu is 1, 2, 4, 6 or 8."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.memory_mib >= (model.cpu >= 6 ? 4096 : model.cpu >= 4 ? 2048 : 512) && model.memory_mib <= 4096 * model.cpu && floor(model.memory_mib) == model.memory_mib])
    error_message = "memory_mib is a whole number, 512 to 4096 a CPU; Cloud Run wants at least 2048 with 4 CPUs and 4096 with 6 or more."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.concurrency >= 1 && model.concurrency <= 200 && floor(model.concurrency) == model.concurrency])
    error_message = "concurrency is 1 to 200: above MAX_IN_FLIGHT (200) an instance answers 429."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.min_instances >= 0 && model.max_instances >= 1 && model.min_instances <= model.max_instances && model.max_instances <= 1000])
    error_message = "max_instances is 1 to 1000, min_instances 0 to max_instances."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.request_timeout_seconds >= 1 && model.request_timeout_seconds <= 3600 && floor(model.request_timeout_seconds) == model.request_timeout_seconds])
    error_message = "request_timeout_seconds is a whole number, 1 to 3600."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.startup_seconds >= 1 && model.startup_seconds <= 240 && floor(model.startup_seconds) == model.startup_seconds])
    error_message = "startup_seconds is a whole number, 1 to 240, Cloud Run's own limit."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.silence_hours >= 0 && model.silence_hours <= 12 && floor(model.silence_hours) == model.silence_hours])
    error_message = "silence_hours is a whole number, 1 to 12, or 0 for no such alert: it looks back twice as far, and 25 hours at most."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.retrain_schedule == null || can(regex("^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$", model.retrain_schedule)) && alltrue([for place, field in split(" ", coalesce(model.retrain_schedule, "* * * * *")) : alltrue([for number in regexall("[0-9]+", field) : tonumber(number) <= try([59, 23, 31, 12, 7][place], 0)])])])
    error_message = "retrain_schedule has the five fields of cron: minute, hour, day of the month, month, day of the week, such as \"0 4 1 * *\" (UTC)."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.retrain_schedule == null || var.repository != null])
    error_message = "A retrain_schedule starts a build of the repository: name it in the variable repository."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : model.hash_key_secret == null || can(regex("^projects/[^/]+/secrets/[^/]+$", model.hash_key_secret))])
    error_message = "hash_key_secret is called projects/PROJECT/secrets/SECRET; its latest version is read."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : length(setsubtract(keys(model.settings), ["BODY_TIMEOUT_SECONDS", "LOAD_TIMEOUT_SECONDS", "MAX_BODY_MB", "MAX_INSTANCES", "MAX_IN_FLIGHT", "MAX_IN_FLIGHT_MB", "RECORD_KB", "STORE_TIMEOUT_SECONDS"])) == 0])
    error_message = "settings are BODY_TIMEOUT_SECONDS, LOAD_TIMEOUT_SECONDS, MAX_BODY_MB, MAX_INSTANCES, MAX_IN_FLIGHT, MAX_IN_FLIGHT_MB, RECORD_KB and STORE_TIMEOUT_SECONDS (docs/operating.md); the others are the service's own to set."
  }
  validation {
    condition     = alltrue([for network in compact([for model in values(var.models) : model.network == null ? "" : "${model.network.name} ${model.network.subnetwork}"]) : can(regex("^[a-z0-9/_-]+ [a-z0-9/_-]+$", network))])
    error_message = "A network has the name of a VPC and of one of its subnetworks in the region."
  }
  validation {
    condition     = alltrue([for model in values(var.models) : !model.uptime_check || model.ingress == "all" && model.access != "iap"])
    error_message = "An uptime check comes from outside and signs in as a service account: it needs ingress = \"all\", and access other than iap."
  }
}

variable "prefix" {
  description = "What every name begins with, so that two installations fit into one project: PREFIX-MODEL is a service, its identity and its metrics."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,13}[a-z0-9]$", var.prefix)) && !startswith(var.prefix, "goog")
    error_message = "A prefix has 2 to 15 lower-case letters, digits and hyphens, a letter first, no hyphen last; goog is Google's."
  }
}

variable "prices" {
  description = "What Cloud Run charges for request-based billing, for the dashboard's cost per 1,000 predictions; the default is USD in the cheaper regions."
  type = object({
    gib_second       = optional(number, 0.0000025)
    million_requests = optional(number, 0.40)
    vcpu_second      = optional(number, 0.000024)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for price in values(var.prices) : price >= 0])
    error_message = "A price is not below zero."
  }
}

variable "project" {
  description = "Project that everything is made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project is called by its id, 6 to 30 lower-case letters, digits and hyphens, a letter first; not by its number or title."
  }
}

variable "records_days" {
  description = "How long prediction records are kept in BigQuery, in days."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = var.records_days >= 1 && var.records_days <= 3650 && floor(var.records_days) == var.records_days
    error_message = "records_days is a whole number, 1 to 3650."
  }
}

variable "region" {
  description = "Region that everything is made in, such as europe-west6."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "A region looks like europe-west6: no zone, no multi-region."
  }
}

variable "releasers" {
  description = "Who may release from a laptop: members of policies that may impersonate the release identity, and so do all that it may."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.releasers : can(regex("^((user|group|serviceAccount):[^@\\s]+@[^@\\s]+\\.[^@\\s]+|principal(Set)?://(cloudresourcemanager|iam)\\.googleapis\\.com/\\S+)$", member))])
    error_message = "A releaser is user:E-MAIL, group:E-MAIL, serviceAccount:E-MAIL, principal://iam.googleapis.com/... or principalSet://...; nobody else releases."
  }
}

variable "repository" {
  description = "2nd-generation Cloud Build repository of this code, by its full name, and what hosts it; no triggers without it."
  type = object({
    name = string
    type = optional(string, "GITHUB")
  })
  default = null

  validation {
    condition     = alltrue([for repository in var.repository[*] : can(regex("^projects/[^/]+/locations/${var.region}/connections/[^/]+/repositories/[^/]+$", repository.name))])
    error_message = "A repository is called projects/PROJECT/locations/REGION/connections/CONNECTION/repositories/NAME, in the region of everything else; `gcloud builds repositories list` names them once the connection is made in the console."
  }
  validation {
    condition     = alltrue([for repository in var.repository[*] : contains(["BITBUCKET_SERVER", "GITHUB", "GITLAB"], repository.type)])
    error_message = "A repository's type is GITHUB, GITLAB or BITBUCKET_SERVER."
  }
}

variable "runbook" {
  description = "Where people who are woken up read docs/runbook.md; alerts link to its headings."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[^\\s#]+$", var.runbook))
    error_message = "The runbook is a page, https://... without a #heading, such as https://github.com/you/repository/blob/main/docs/runbook.md."
  }
}

variable "state_bucket" {
  description = "Bucket of Terraform's own state, which make bootstrap makes; pipelines are let into it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.state_bucket)) && !can(regex("^goog|google|g00gle", var.state_bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, hyphens and underscores, starts and ends with a letter or digit, and holds no \"google\"."
  }
}

# A pull request is verified, a push to the branch delivered: tested, trained, published, built, rolled out. Both run
# cloudbuild.yaml, under identities of their own. Delivery plans Terraform and never applies it.
resource "google_service_account" "verify" {
  account_id   = "${var.prefix}-verify"
  description  = "Verifies pull requests: reads model versions and Terraform's state, writes its log"
  display_name = "${var.prefix} verify"

  depends_on = [google_project_service.main]
}

# The release identity. People who release from a laptop impersonate it: those named in `releasers`.
resource "google_service_account" "deliver" {
  account_id   = "${var.prefix}-deliver"
  description  = "Delivers the branch: trains, publishes versions, builds images, releases revisions"
  display_name = "${var.prefix} deliver"

  depends_on = [google_project_service.main]
}

resource "google_service_account_iam_member" "releaser" {
  for_each = var.releasers

  member             = each.key
  role               = "roles/iam.serviceAccountTokenCreator"
  service_account_id = google_service_account.deliver.name
}

# It calls private endpoints, for which it mints identity tokens itself: the same way in a build and on a laptop.
resource "google_service_account_iam_member" "deliver_identity_tokens" {
  member             = google_service_account.deliver.member
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  service_account_id = google_service_account.deliver.name
}

locals {
  # Only project-wide roles exist for these: the builds' own log, what the judge reads (logs and metrics), and reading
  # everything, which a plan has to, to see drift. A pull request's plan compares with the state alone, and looks up the
  # project's number and, with a key of your own, the agents that use it (docs/decisions/0010).
  project_roles = {
    deliver = ["roles/iam.securityReviewer", "roles/logging.logWriter", "roles/viewer"]
    verify = concat(
      ["roles/browser", "roles/logging.logWriter"],
      var.encryption_key == null ? [] : ["roles/bigquery.jobUser"],
    )
  }
  builders = {
    deliver = google_service_account.deliver.member
    verify  = google_service_account.verify.member
  }
}

resource "google_project_iam_member" "builders" {
  for_each = merge([for builder, roles in local.project_roles : { for role in roles : "${builder} ${role}" => { builder = builder, role = role } }]...)

  member  = local.builders[each.value.builder]
  project = var.project
  role    = each.value.role
}

# Plans read the state and do not lock it.
resource "google_storage_bucket_iam_member" "state_builders" {
  for_each = local.builders

  bucket = var.state_bucket
  member = each.value
  role   = "roles/storage.objectViewer"
}

resource "google_cloudbuild_trigger" "verify" {
  count = var.repository == null ? 0 : 1

  description     = "Verify a pull request"
  filename        = "cloudbuild.yaml"
  location        = var.region
  name            = "${var.prefix}-verify"
  service_account = google_service_account.verify.id
  substitutions   = merge(local.substitutions, { _RUN = "verify" })

  repository_event_config {
    repository = var.repository.name
    pull_request {
      branch          = local.pushes_to
      comment_control = "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY" # a stranger's code runs only when one of us says so
    }
  }

  depends_on = [google_project_iam_member.builders]
}

resource "google_cloudbuild_trigger" "deliver" {
  count = var.repository == null ? 0 : 1

  description     = "Deliver the branch: test, train what changed, publish, build, roll out"
  filename        = "cloudbuild.yaml"
  location        = var.region
  name            = "${var.prefix}-deliver"
  service_account = google_service_account.deliver.id
  substitutions   = merge(local.substitutions, { _RUN = "deliver" })

  repository_event_config {
    repository = var.repository.name
    push {
      branch = local.pushes_to
    }
  }

  depends_on = [google_project_iam_member.builders]
}

locals {
  pushes_to = "^${replace(var.branch, ".", "\\.")}$"

  # What every build is told; cloudbuild.yaml holds the defaults.
  substitutions = {
    _ENVIRONMENT = var.environment
    _MODEL_STORE = google_storage_bucket.models.url
  }
}

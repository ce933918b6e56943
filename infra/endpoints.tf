# One endpoint a model. What it must keep to was agreed before training and stands in its model.yaml.
locals {
  recipes = { for name in keys(var.models) : name => yamldecode(file("${path.root}/../models/${name}/model.yaml")) }
}

module "endpoint" {
  source   = "./endpoint"
  for_each = var.models

  channels            = local.channels
  deletion_protection = var.deletion_protection
  deliver_member      = google_service_account.deliver.member
  endpoint            = each.value
  goals = {
    availability    = try(local.recipes[each.key].serving.availability, null)
    drift_threshold = try(local.recipes[each.key].monitoring.drift_threshold, null)
    latency_goal    = try(local.recipes[each.key].serving.latency_goal, null)
    latency_ms      = try(local.recipes[each.key].serving.latency_ms, null)
  }
  model          = each.key
  model_bucket   = google_storage_bucket.models.name
  name           = "${var.prefix}-${each.key}"
  owner          = try(local.recipes[each.key].owner, "")
  prices         = var.prices
  project        = var.project
  project_number = data.google_project.main.number
  region         = var.region
  runbook        = var.runbook

  depends_on = [google_project_service.main]
}

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
    availability    = coalesce(try(local.recipes[each.key].serving.availability, null), 0.995)
    drift_threshold = coalesce(try(local.recipes[each.key].monitoring.drift_threshold, null), 0.2)
    latency_goal    = coalesce(try(local.recipes[each.key].serving.latency_goal, null), 0.99)
    latency_ms      = coalesce(try(local.recipes[each.key].serving.latency_ms, null), 300)
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

# Scaling to zero keeps the bill small; this says so when it does not.
resource "google_billing_budget" "main" {
  count    = var.budget == null ? 0 : 1
  provider = google.billing

  billing_account = var.budget.billing_account
  display_name    = "${var.prefix} (${var.environment})"

  # Those who administer the billing account are written to anyway.
  dynamic "all_updates_rule" {
    for_each = length(local.emails) > 0 ? [local.emails] : []
    content {
      monitoring_notification_channels = slice(all_updates_rule.value, 0, min(5, length(all_updates_rule.value))) # a budget takes no more
    }
  }

  amount {
    specified_amount {
      units = tostring(var.budget.amount)
    }
  }

  budget_filter {
    projects = ["projects/${data.google_project.main.number}"]
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 1.0
  }

  threshold_rules {
    spend_basis       = "FORECASTED_SPEND"
    threshold_percent = 1.0
  }

  depends_on = [google_project_service.main]
}

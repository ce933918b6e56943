resource "google_billing_budget" "main" {
  provider        = google.billed
  billing_account = data.google_project.main.billing_account
  display_name    = "monthly ${var.mark}"
  depends_on      = [google_project_service.main]

  budget_filter {
    projects = ["projects/${data.google_project.main.number}"]
  }

  amount {
    specified_amount {
      currency_code = "USD"
      units         = var.mark == "a" ? "100" : "200"
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    disable_default_iam_recipients   = true
    monitoring_notification_channels = [google_monitoring_notification_channel.main.id]
  }
}

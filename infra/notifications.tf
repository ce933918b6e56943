# Who hears of alerts.
resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = each.key
  force_delete = true
  labels       = { email_address = each.key }
  type         = "email"

  depends_on = [google_project_service.main]
}

locals {
  emails   = [for channel in google_monitoring_notification_channel.email : channel.name]
  channels = concat(local.emails, sort(var.alert_channels))
}

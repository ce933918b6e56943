# Destroyed before everything that it depends on, and while protected it refuses to be: so either the whole endpoint goes
# or none of it. The service's own protection comes too late, when who may call it is already gone.
resource "terraform_data" "protection" {
  input            = var.deletion_protection
  triggers_replace = [var.name, var.region]

  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "echo 'deletion_protection is true. Set it to false and apply before destroying anything.' >&2; exit 1" : "true"
  }

  depends_on = [
    google_cloud_run_v2_service.main,
    google_cloud_run_v2_service_iam_member.deliver,
    google_cloud_run_v2_service_iam_member.invoker,
    google_cloud_run_v2_service_iam_member.proxy,
    google_cloud_run_v2_service_iam_member.uptime,
    google_iap_web_cloud_run_service_iam_member.person,
    google_logging_metric.counter,
    google_logging_metric.distribution,
    google_monitoring_alert_policy.burn,
    google_monitoring_alert_policy.main,
    google_monitoring_dashboard.main,
    google_monitoring_uptime_check_config.main,
    google_secret_manager_secret_iam_member.hash_key,
    google_service_account_iam_member.deliver,
    google_storage_bucket_iam_member.versions,
  ]
}

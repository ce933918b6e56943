# As in endpoint/: what lies around the endpoints is destroyed whole or not at all.
resource "terraform_data" "protection" {
  input            = var.deletion_protection
  triggers_replace = [var.model_bucket, var.prefix, var.project, var.region]

  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "echo 'deletion_protection is true. Set it to false and apply before destroying anything.' >&2; exit 1" : "true"
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.images_deliver,
    google_bigquery_dataset_iam_member.records_sink,
    google_bigquery_table.predictions,
    google_billing_budget.main,
    google_cloud_scheduler_job.retrain,
    google_cloudbuild_trigger.apply,
    google_cloudbuild_trigger.deliver,
    google_cloudbuild_trigger.retrain,
    google_cloudbuild_trigger.verify,
    google_kms_crypto_key_iam_member.apply,
    google_project_iam_member.apply,
    google_project_iam_member.builders,
    google_pubsub_topic.retrain,
    google_service_account_iam_member.deliver_identity_tokens,
    google_service_account_iam_member.releaser,
    google_storage_bucket_iam_member.models_deliver,
    google_storage_bucket_iam_member.models_verify,
    google_storage_bucket_iam_member.state_builders,
    module.endpoint,
  ]
}

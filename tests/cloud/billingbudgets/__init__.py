"""Cloud Billing Budgets."""

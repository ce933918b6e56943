"""Cloud Billing: which account pays for the project."""

"""IAM: service accounts and custom roles."""

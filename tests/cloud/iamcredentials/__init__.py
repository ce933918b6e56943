"""IAM Service Account Credentials: short-lived tokens of service accounts, for who may act as them."""

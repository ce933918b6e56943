"""Resource Manager: the project and its IAM policy, in both versions of the API."""

"""Cloud KMS: key rings and keys."""

"""The IAM policies of docs/iam: filling them in for a service, and comparing them with calls that were really made."""

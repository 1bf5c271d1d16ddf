"""Blob stores for attachments: a local folder, or an S3 bucket."""

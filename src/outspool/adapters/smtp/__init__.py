"""Delivery over SMTP, through aiosmtplib."""

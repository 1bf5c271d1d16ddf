"""Accepts emails, and shows, updates, cancels and retries them."""

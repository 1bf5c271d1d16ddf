"""Protocols for what the services need from outside. Adapters implement them; only `app` chooses which."""

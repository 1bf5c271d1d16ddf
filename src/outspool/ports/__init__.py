"""What the services need from the outside world, as Protocols. Adapters implement them; only `app` picks which."""

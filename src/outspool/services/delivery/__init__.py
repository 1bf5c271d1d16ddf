"""From a due email to its outcome: claim, deliver, record."""

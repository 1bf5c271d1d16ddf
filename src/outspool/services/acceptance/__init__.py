"""From a caller's request to a stored email, and what callers do with it afterwards."""

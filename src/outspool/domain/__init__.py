"""Emails, series, policies and schedules: pure rules, without I/O and without a clock."""

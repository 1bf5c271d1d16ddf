"""Composes the bytes of a message (RFC 5322) from an email. Pure: no I/O."""

"""The results of every tool. Null fields are left out; times are RFC 3339 UTC.

Every tool that returns an email returns all of `EmailResult`. Only `get_status` *declares* all of it, because each
client's model pays for the tool list on every turn; the others declare the fields that a caller acts on.
"""

"""Composition root: builds a running `Outspool` from `Settings`. The only package that imports adapters.

* `configuration`: the SMTP account, rules and limits
* `storage`: attachments
* `runtime`: the parts of one process, built and run
* `faces`: MCP over stdio and over HTTP, and a worker alone, around it
* `examination`: the checks of `doctor`
"""

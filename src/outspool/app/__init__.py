"""Composition root: `Settings` → a running `Outspool`. The only package that names adapters.

* `configuration`: what the settings mean
* `storage`: where attachments come from and are kept
* `runtime`: the parts of one process, built and run
* `faces`: MCP over stdio and over HTTP, and a worker alone, around it
* `examination`: what `doctor` looks at
"""

"""Composition root: `Settings` → a running `Outspool`. The only package that names adapters.

* `configuration`: what the settings mean
* `storage`: where attachments come from and are kept
* `runtime`: the parts of one process, built and run
* `examination`: what `doctor` looks at
"""

"""Files of this machine: attachments by path, templates, and the check of the disk."""

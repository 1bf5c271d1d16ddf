"""The vocabulary that all faces share: requests, results, errors and their JSON schemas."""

"""The one vocabulary of every face: requests, results, errors and their JSON schemas."""

"""What `outspool doctor` examines and reports."""

"""Real servers and network faults for the tests."""

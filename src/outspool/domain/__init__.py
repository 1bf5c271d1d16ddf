"""What an email is and may become: pure, no I/O, no clock."""

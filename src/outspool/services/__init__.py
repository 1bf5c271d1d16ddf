"""The work itself: accept, compose, deliver. Sees the world only through ports."""

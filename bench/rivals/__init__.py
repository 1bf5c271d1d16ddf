"""Other people's programs, each made ready to take its turn, or absent with a reason."""

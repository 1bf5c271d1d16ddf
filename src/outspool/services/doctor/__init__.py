"""The checks of `outspool doctor`."""

"""Every variable of the front, by subject."""

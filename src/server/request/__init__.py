"""A request's life, from its checks to its end."""

"""The files of TLS: read, checked, watched, and what is set of them."""

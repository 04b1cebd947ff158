"""The files of TLS."""

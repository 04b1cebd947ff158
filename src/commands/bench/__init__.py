"""`tokenwire bench`."""

"""Every series that the front offers, and the port that they are read from."""

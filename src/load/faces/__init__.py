"""The doors of a server, each as a client of its own would use it."""

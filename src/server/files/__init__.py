"""From a model id to files on this machine."""

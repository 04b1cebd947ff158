"""What of SGLang runs in the front: starts a host and speaks with it."""

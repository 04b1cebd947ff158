"""What a request has said, kept for those who read it."""

"""Messages of gRPC to and from what the front works on: pure functions."""

"""The `/tokenwire/v1` routes: the gRPC service itself, in canonical proto-JSON."""

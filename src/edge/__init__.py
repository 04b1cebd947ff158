"""The HTTP edge: REST and server-sent events as the gRPC calls that any client makes."""

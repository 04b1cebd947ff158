"""The front: the gRPC server, and the engines that it starts."""

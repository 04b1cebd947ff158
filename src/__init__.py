"""A gRPC-first LLM inference service."""

__version__ = "0.1.0"

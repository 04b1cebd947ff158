"""The pool of the messages in here, and of what they import."""

from google.protobuf import descriptor_pool, duration_pb2

_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(duration_pb2.DESCRIPTOR.serialized_pb)


def Default() -> descriptor_pool.DescriptorPool:
    """Returns the one pool."""
    return _POOL

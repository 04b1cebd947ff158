"""From a model id to a launched engine: which engine, which sizes, which place."""

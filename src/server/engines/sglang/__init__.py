"""SGLang: a host process that owns its runtime, and what the front knows of it."""

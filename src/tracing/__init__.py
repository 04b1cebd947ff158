"""Spans of the service and their way to a collector. What they say: `docs/traces.md`."""

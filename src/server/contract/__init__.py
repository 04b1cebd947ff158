"""What front and engines agree on: events, an engine's settings, model ids, failures."""

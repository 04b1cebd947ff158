"""The interactive page and the OpenAPI document that it shows, as files."""

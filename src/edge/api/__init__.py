"""The `/api` routes: the dialect of existing callers, with OpenAI's fields beside its own."""

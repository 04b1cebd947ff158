"""The `/api` routes: the dialect of existing callers, and what OpenAI's clients send to it."""

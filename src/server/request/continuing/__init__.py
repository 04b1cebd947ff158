"""Generations that go on when their engine dies."""

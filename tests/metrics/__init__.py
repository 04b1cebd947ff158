"""Series of both processes."""

"""HTTP connections: how many, how long, and what is said where none of them holds a request."""

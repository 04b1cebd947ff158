"""Load on a server, and what it answers with: `tokenwire bench`."""

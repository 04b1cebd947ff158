"""Log lines: what one holds, and how it gets out without anyone waiting for it."""

"""From what a model writes to text, thinking and calls of tools: the same for every engine."""

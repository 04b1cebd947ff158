"""What llama.cpp tells of an answer, as the events of an engine."""

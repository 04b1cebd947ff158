"""The process that runs llama.cpp, from both of its sides."""

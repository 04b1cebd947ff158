"""How prompts become tokens on llama.cpp."""

"""The face of tokenizers and chat templates: text to tokens and back, and the size of prompts."""

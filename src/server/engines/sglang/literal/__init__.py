"""What SGLang needs so that words of a request are read as text."""

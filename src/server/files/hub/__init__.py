"""Fetches files from the Hugging Face hub, or a mirror of it, into its cache."""

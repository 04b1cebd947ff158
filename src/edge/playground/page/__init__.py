"""The page's modules that make what a person sees."""

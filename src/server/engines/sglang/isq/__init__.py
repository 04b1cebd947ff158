"""Quantises weights while SGLang loads them; runs in SGLang's own processes."""

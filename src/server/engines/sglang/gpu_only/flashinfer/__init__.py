"""Hides the package of this name on machines with no GPU, where nothing of it can run.

SGLang imports it wherever it is installed, at a fifth of its import time, and goes on without it.
"""

raise ImportError("flashinfer needs a GPU")

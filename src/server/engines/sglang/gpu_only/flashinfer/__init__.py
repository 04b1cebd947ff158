"""Hides the package of this name on machines with no GPU, where nothing of it can run.

SGLang imports it wherever it is installed, which takes seconds, and goes on without it.
"""

raise ImportError("flashinfer needs a GPU")

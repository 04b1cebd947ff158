"""llama.cpp: a child that runs its server on a private socket."""

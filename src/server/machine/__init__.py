"""CPUs, memory and GPUs of this host."""

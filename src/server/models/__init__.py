"""A model's life: loaded, used, restarted, unloaded; who runs and who waits."""

"""What a call may ask of a model, and whether its answer kept to it."""

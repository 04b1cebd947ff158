"""What SGLang generates, on its way to the front: choices, and what their tokens say."""

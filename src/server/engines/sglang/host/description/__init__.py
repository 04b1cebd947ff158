"""What the host tells of the model that SGLang has loaded."""

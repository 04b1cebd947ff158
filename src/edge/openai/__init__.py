"""OpenAI's dialect: so far what its clients send to `/api/completions`, and find in the answer."""

"""OpenAI's dialect: `/v1`, and the part of it that `/api/completions` answers with."""

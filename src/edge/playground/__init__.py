"""The playground: one page to talk to the models, with no network access and no build step."""

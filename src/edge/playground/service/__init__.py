"""The page's modules that know the service and nothing of the page: requests, events, snippets."""

"""Images of requests: fetched, checked, decoded and written anew, by us and by no engine."""

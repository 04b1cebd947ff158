"""Numbers about HTTP, and the page that shows them with the front's."""

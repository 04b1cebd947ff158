"""Series that front and edge both have, and how a page of them is written."""

"""The page's style sheets, one for each part of it."""

"""The page's modules that make nodes of data: text of models is never read as markup."""

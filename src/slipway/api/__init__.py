"""What users write: one module a kind, and the definitions that the API server gets made from them."""

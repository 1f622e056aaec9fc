"""Floor 2: the marginal likelihood of models with group effects."""

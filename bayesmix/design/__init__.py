"""Floor 1: data in. What a model sees of them, by name: columns, formulas, responses."""

"""Floor 2: networks in training, whatever their density."""

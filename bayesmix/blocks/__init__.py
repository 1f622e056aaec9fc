"""Floor 2: the mathematics that families share."""

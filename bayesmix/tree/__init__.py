"""Floor 1: results out. One DataTree whatever the engine: built, read, ordered, stored."""

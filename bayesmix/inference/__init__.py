"""Floor 3b: one file a method. Methods are found by discovery; nothing here imports models."""

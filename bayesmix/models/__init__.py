"""Floor 3a: one file a family. Models are found by discovery; nothing here imports inference."""

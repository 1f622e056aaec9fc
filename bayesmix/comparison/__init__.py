"""Floor 4: which model predicts best."""

"""What the diagnostics are made of: labels, findings, and one function for each check."""

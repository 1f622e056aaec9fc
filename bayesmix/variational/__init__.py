"""Floor 2: Gaussians in place of posteriors."""

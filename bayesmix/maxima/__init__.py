"""Floor 2: highest points, and the search for them from many starts."""

"""Floor 2: Markov chains: what they say about themselves, and chains of independent proposals."""

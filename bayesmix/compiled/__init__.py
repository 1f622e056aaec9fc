"""Floor 2: densities as machine code, kept between processes."""

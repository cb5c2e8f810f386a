"""Everything that somebody may try against the guard rails, and what has to pass nevertheless."""

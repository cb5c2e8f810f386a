"""What the components make of an estate, in a pool of the sample alone."""

"""What decides a value: the recipe, the seed, the window; and the one fill that makes it."""

"""Foreign networks -> computation graphs."""

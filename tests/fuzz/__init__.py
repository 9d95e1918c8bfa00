"""Files that nobody would write, made by chance: each is refused in one line, or is a whole network."""

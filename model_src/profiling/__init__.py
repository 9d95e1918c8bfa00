"""What a network costs where it is to run: timing, other programs, and estimates by layer."""

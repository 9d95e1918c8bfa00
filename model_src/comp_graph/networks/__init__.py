"""What the networks of a graph have in common, whatever framework builds them."""

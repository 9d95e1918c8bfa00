"""The evolutionary search; it knows the predictor only by its two scoring methods."""

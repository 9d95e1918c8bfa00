"""Training and testing of predictors."""

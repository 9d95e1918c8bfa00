"""What predictors learn from and are asked about: caches, splits, packed batches."""

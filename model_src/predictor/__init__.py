"""Accuracy predictors: a GNN over whole networks, and PSC over predecessor, segment and successor of a split."""

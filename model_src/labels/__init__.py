"""Tables of accuracies: one row type, read and written; who measures is passed in."""

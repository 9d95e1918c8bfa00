"""Networks as text: node tokens, byte-pair segments and the database of segments that mutations draw from."""

"""The sealed log as values: leaves, the tree over them, proofs, notes and checkpoints."""

"""Make: from one trained model to a proven variant for each class of board. The only importer of tensorflow."""

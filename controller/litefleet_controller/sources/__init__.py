"""fetch: models and data sets from where their URIs say, into the blobs; what the operator allows, and nothing else."""

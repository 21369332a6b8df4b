"""Keep: content-addressed blobs, and the signed manifests that make artifacts of them."""

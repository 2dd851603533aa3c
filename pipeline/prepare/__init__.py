"""prepare: raw images in any format → validated, split Arrow shards."""

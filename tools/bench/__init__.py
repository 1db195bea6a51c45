"""Speed: every module of the pipeline, the whole of it, and a peer on the same frames (``hmcap bench``)."""

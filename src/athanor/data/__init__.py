"""Data: labelled frames, the files they come from and the immutable store they are kept in."""

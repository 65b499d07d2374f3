"""Which structures belong together: spectral clusters of a similarity (Shuaib et al. 2024)."""

"""How alike structures are: SOAP and Coulomb-matrix kernels (Shuaib et al. 2024, section 2)."""

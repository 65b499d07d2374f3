"""Parts of HIP-NN potentials; torch and hippynn are imported only by what `extra.py` opens."""

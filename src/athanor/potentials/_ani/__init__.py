"""Parts of ANI potentials."""

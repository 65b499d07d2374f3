"""Private parts of moment tensor potentials: basis, files, NumPy twin, fit."""

"""The structure of liquids and glasses: distances, coordination and scattering."""

"""How a melting point is found by coexistence: boxes, order of atoms, growth, search."""

"""Parts of the Gaussian approximation potential that only its own file uses."""

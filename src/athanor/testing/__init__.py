"""Public help for testing: the conformance suite, random structures, and fakes for campaigns."""

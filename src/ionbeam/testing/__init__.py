"""WHAT TESTS ARE MADE OF: contract suites, a virtual clock, fake remote servers; shipped for everyone."""

"""How an index is searched: scans, shortlists, and the check that a plan finds what is nearest."""

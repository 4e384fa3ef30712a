"""What a search is asked for and gives: stages, the plans that they follow, results."""

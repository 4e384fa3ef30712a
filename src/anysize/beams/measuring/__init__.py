"""What a book is measured by, what it stands beside, and how its beams look."""

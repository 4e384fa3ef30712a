"""What stands in files, before it means anything: rows of cells, vectors, lines, packed or not."""

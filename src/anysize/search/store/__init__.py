"""What an index is on the disk: its manifest, segments, codes and lists."""

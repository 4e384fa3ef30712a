"""Models whose weights are codes, and how their widths are mixed."""

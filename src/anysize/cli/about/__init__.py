"""What ``anysize info`` tells, a file for each kind of thing."""

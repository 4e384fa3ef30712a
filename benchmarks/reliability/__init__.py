"""Attacks on the product: kills, damage, malice, wrong words, crowds, interrupts and full disks."""

"""Servers for trying Tollbook on one machine, on loopback addresses only."""

"""Runs the exported motion networks over proxies as they come, and puts what they say into the world."""

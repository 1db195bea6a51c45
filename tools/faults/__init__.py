"""Faults on purpose: captures that are killed, disks that fill up or go away, and runs that never end."""

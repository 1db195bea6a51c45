"""What a user may have done to a take's motion before it is written to files: cut, brought to another frame rate,
smoothed, its standing feet held. Pure functions from a track to a track, with a sentence each of what changed.

The take itself is never altered, and of all this only the even frame rate happens unasked.
"""

"""Videos, frame by frame: only finished parts of the result are stored, and a stopped run goes on.

docs/design/video.md explains how. PyAV (the extra ``video``) reads and writes them: it is ffmpeg's
libraries with a Python interface, so that frames keep their exact times, sound is copied packet by
packet, and no ``ffmpeg`` command is needed.
"""

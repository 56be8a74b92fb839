"""The Real-ESRGAN family: RRDBNet and SRVGGNetCompact networks, with the official weights."""

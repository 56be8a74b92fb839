"""What to do about a file that cannot be used: the second half of several messages."""

AGAIN = "Copy it again from where it was recorded."
TOGETHER = "Put all files of the data set into one folder, or copy the file again."
ACCESS = "Check its permissions, and the disk or the network that it is on."
METADATA = "Restore its metadata from a copy, or export the image again."
ONE_IMAGE = "Leave series= and level= out."

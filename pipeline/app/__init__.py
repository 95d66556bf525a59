"""The page of `affectline app`, and `affectline live`: pictures, videos and cameras on this machine."""

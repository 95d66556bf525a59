"""What travels and what is stored: emotion labels, run settings, Beam elements and Parquet tables.

Private to affectline.
"""

VERSION = "0.1.0"

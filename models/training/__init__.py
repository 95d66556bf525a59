"""Training and measuring models; nothing here is needed to use one."""

"""What happens to frames and faces, as plain functions on arrays."""

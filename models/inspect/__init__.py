"""Looking at models: lists, diagrams, and what one sees in a face."""

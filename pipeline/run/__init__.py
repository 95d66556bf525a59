"""Every way to run the pipeline: asked for, planned, executed here or elsewhere, and summed up."""

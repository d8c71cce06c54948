"""The stages of an adaptation, one folder each; a stage knows its inputs, its output folder and a job."""

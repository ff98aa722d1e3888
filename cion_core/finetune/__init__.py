"""Fine-tuning on the people of a benchmark, labelled or not, by recipes."""

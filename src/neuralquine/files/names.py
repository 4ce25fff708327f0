"""The names of the files in a quine's folder."""

WEIGHTS, CONFIG, SOLUTION, CARD = "model.safetensors", "config.json", "solution.json", "README.md"
METRICS, CERTIFICATE = "metrics.jsonl", "certificate.json"

"""What the files of a quine's folder are called."""

WEIGHTS, CONFIG, SOLUTION, CARD = "model.safetensors", "config.json", "solution.json", "README.md"
METRICS, CERTIFICATE = "metrics.jsonl", "certificate.json"

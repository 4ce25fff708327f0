"""What is true of a quine: verdicts, spectra, generations, figures."""
